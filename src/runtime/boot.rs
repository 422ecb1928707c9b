//! Which run of the machine this is.

/// Tells runs of this machine apart (`random(4)`). A machine that does not say is never taken for the same one again.
pub fn boot_id() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    told.map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| format!("{:032x}", super::random::u128()))
}
