use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use hyper::body::{Frame, SizeHint};

use crate::mirror::{self, Chunk};

/// The body of any answer.
pub(super) enum Reply {
    /// Made here, of bytes.
    House(Body),
    /// The mirror's, which leaves by ways of its own.
    Mirror(mirror::Body),
}

impl hyper::body::Body for Reply {
    type Data = Chunk;
    type Error = axum::BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::House(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map_ok(|frame| frame.map_data(Chunk::from)).map_err(Into::into)
            }
            Self::Mirror(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::House(body) => body.is_end_stream(),
            Self::Mirror(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::House(body) => body.size_hint(),
            Self::Mirror(body) => body.size_hint(),
        }
    }
}
