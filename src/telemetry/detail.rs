//! More detail for a while. A process that behaves oddly should be looked at as it is, not after a restart: SIGUSR1 makes
//! it log what debugging needs until [`SPAN`] is over or the signal comes again, so that nobody forgets a log that fills
//! the disk.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};

/// For so long.
pub(super) const SPAN: Duration = Duration::from_mins(15);

/// Calls `show` with whether there shall be more detail, as it is `asked` for and as time goes by.
pub(super) async fn follow(asked: impl Stream<Item = ()>, span: Duration, show: impl Fn(bool)) {
    let mut asked = pin!(asked);
    while asked.next().await.is_some() {
        show(true);
        // Whether it is asked for again or time is up is the same.
        let _ = tokio::time::timeout(span, asked.next()).await;
        show(false);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::stream;

    use super::*;

    async fn shown(asked: impl Stream<Item = ()>, span: Duration) -> Vec<bool> {
        let shown = Mutex::new(Vec::new());
        follow(asked, span, |more| shown.lock().unwrap().push(more)).await;
        shown.into_inner().unwrap()
    }

    #[tokio::test]
    async fn detail_ends_when_it_is_asked_for_again() {
        let asked = stream::iter([(), ()]).chain(stream::empty());
        assert_eq!(shown(asked, SPAN).await, [true, false]);
    }

    #[tokio::test]
    async fn detail_ends_by_itself() {
        let (again, asking) = tokio::sync::mpsc::channel(1);
        let asked = stream::unfold(asking, async |mut asking: tokio::sync::mpsc::Receiver<()>| {
            Some((asking.recv().await?, asking))
        });
        again.send(()).await.unwrap();
        // Nobody asks again. The end of the detail lets go of the asking, and so ends the test.
        let (last, shown) = (Mutex::new(Some(again)), Mutex::new(Vec::new()));
        let show = |more: bool| {
            shown.lock().unwrap().push(more);
            if !more {
                last.lock().unwrap().take();
            }
        };
        follow(asked, Duration::from_millis(1), show).await;
        assert_eq!(*shown.lock().unwrap(), [true, false]);
    }
}
