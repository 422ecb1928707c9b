//! interim shape
#![expect(missing_docs)]
use crate::domain::{
    secret::Secret,
    server::{Port, Protocol},
    text::PublicAddress,
};
pub struct Remote {
    pub address: PublicAddress,
    pub port: Port,
    pub protocol: Protocol,
}
pub struct ClientProfile {
    pub remotes: Vec<Remote>,
    pub server_name: String,
    pub ca: String,
    pub certificate: String,
    pub key: Secret<String>,
    pub tls_crypt_v2: Secret<String>,
}
impl ClientProfile {
    pub fn render(&self) -> Result<Secret<String>, std::fmt::Error> {
        Ok(Secret::new(String::new()))
    }
}
