//! More detail for a while. A process that behaves oddly should be looked at as it is, not after a restart: SIGUSR1 makes
//! it log what debugging needs until [`SPAN`] is over or the signal comes again, so that nobody forgets a log that fills
//! the disk.

use std::{pin::pin, time::Duration};

use futures_util::{Stream, StreamExt as _};

/// For so long.
const SPAN: Duration = Duration::from_mins(15);

/// Calls `show` with whether there shall be more detail, as it is `asked` for and as time goes by.
pub(super) async fn follow(asked: impl Stream<Item = ()>, show: impl Fn(bool)) {
    let mut asked = pin!(asked);
    while asked.next().await.is_some() {
        show(true);
        // Whether it is asked for again or time is up is the same.
        let _ = tokio::time::timeout(SPAN, asked.next()).await;
        show(false);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn detail_ends_by_itself_or_when_it_is_asked_for_again() {
        let began = tokio::time::Instant::now();
        // Once, and nothing for an hour; then twice, a minute apart.
        let pauses = [0, 60, 1].map(Duration::from_mins);
        let asked = stream::iter(pauses).then(tokio::time::sleep);
        let shown = Mutex::new(Vec::new());
        follow(asked, |more| shown.lock().unwrap().push((began.elapsed().as_secs() / 60, more))).await;
        assert_eq!(*shown.lock().unwrap(), [(0, true), (15, false), (60, true), (61, false)]);
    }
}
