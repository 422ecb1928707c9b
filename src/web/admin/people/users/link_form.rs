//! The form of a one-time link, on the sheet of the user whom it is for.

use crate::ui::Field;
use crate::ui::form::form;
use services::access::profiles::NewProfile;

form! {
    /// The form of a one-time link.
    LinkForm {
        device: Field::name("Name of the device").subject("The name of the device");
        server_id: Field::select("Server").subject("The server is").with("required");
    } fields => NewProfile { Some(NewProfile { server_id, name: device }) }
}
