//! The areas of the store: each is a view of the same handle, asked for by its name.

use std::ops::Deref;

use crate::connect::Store;
use crate::policy::PolicyChange;

macro_rules! areas {
    ($($method:ident: $reads:ident, $writes:ident;)+) => {
        $(
            #[doc = concat!("What is read and written in the area [`", stringify!($method), "`](crate::", stringify!($method), ").")]
            #[derive(Clone, Copy)]
            pub struct $reads<'a>(&'a Store);

            impl Deref for $reads<'_> {
                type Target = Store;

                fn deref(&self) -> &Store {
                    self.0
                }
            }

            #[doc = concat!("What a change of policy does in the area [`", stringify!($method), "`](crate::", stringify!($method), ").")]
            #[derive(Clone, Copy)]
            pub struct $writes<'a>(&'a PolicyChange);

            impl Deref for $writes<'_> {
                type Target = PolicyChange;

                fn deref(&self) -> &PolicyChange {
                    self.0
                }
            }
        )+

        impl Store {
            $(
                #[doc = concat!("The area [`", stringify!($method), "`](crate::", stringify!($method), ").")]
                pub fn $method(&self) -> $reads<'_> {
                    $reads(self)
                }
            )+
        }

        impl PolicyChange {
            $(
                #[doc = concat!("The area [`", stringify!($method), "`](crate::", stringify!($method), ").")]
                pub fn $method(&self) -> $writes<'_> {
                    $writes(self)
                }
            )+
        }
    };
}

areas! {
    identity: Identities, IdentityChange;
    people: People, PeopleChange;
    network: Network, NetworkChange;
    hosts: Hosts, HostsChange;
    access: Access, AccessChange;
    cluster: Cluster, ClusterChange;
    evidence: Evidence, EvidenceChange;
}
