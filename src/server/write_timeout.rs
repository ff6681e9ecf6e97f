//! Connections whose other end does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Breaks off once nothing at all could be written for too long; whoever reads slowly reads.
pub struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// Since a write had to wait.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    pub fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            blocked: None,
        }
    }

    fn watch(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let limit = self.limit;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(limit)));
        blocked.as_mut().poll(context).map(|()| {
            let reason = "the other end does not read (--max-write-seconds)";
            Err(io::Error::new(io::ErrorKind::TimedOut, reason))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes as many bytes as it has room for.
    struct Pipe {
        room: usize,
    }

    impl AsyncWrite for Pipe {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            if taken == 0 {
                Poll::Pending
            } else {
                Poll::Ready(Ok(taken))
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(pipe: &mut WriteTimeout<Pipe>) -> io::Result<usize> {
        std::future::poll_fn(|context| Pin::new(&mut *pipe).poll_write(context, b"abc")).await
    }

    #[tokio::test]
    async fn a_connection_that_nobody_reads_breaks_off_and_names_the_limit() {
        let mut pipe = WriteTimeout::new(Pipe { room: 2 }, Duration::from_millis(5));
        assert_eq!(write(&mut pipe).await.ok(), Some(2));
        let error = write(&mut pipe).await.expect_err("there is no room");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("--max-write-seconds"), "{error}");
    }

    #[tokio::test]
    async fn whoever_reads_a_little_now_and_then_is_waited_for_anew() {
        let mut pipe = WriteTimeout::new(Pipe { room: 0 }, Duration::from_millis(5));
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut pipe).poll_write(&mut context, b"abc").is_pending());
        tokio::time::sleep(Duration::from_millis(20)).await;
        // It has read just before the time was noticed to be over.
        pipe.stream.room = 1;
        // However long the next lines take.
        pipe.limit = Duration::from_secs(3600);
        assert_eq!(write(&mut pipe).await.ok(), Some(1));
        assert!(
            Pin::new(&mut pipe).poll_write(&mut context, b"abc").is_pending(),
            "the time begins anew"
        );
    }
}
