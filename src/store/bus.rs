//! interim shape
#![expect(missing_docs)]
#[derive(Clone, Debug)]
pub struct Nudge {
    pub kind: String,
    pub key: Option<String>,
    pub rev: Option<i64>,
}
#[derive(Clone)]
pub struct Emitter;
impl Emitter {
    pub fn emit(&self, _n: Nudge) {}
}
pub enum BusMessage {
    Nudge(Nudge),
    Resync,
}
pub struct Subscription;
impl Subscription {
    pub async fn next(&mut self) -> BusMessage {
        std::future::pending().await
    }
}
