//! Frames of a session: what a broken frame means for it.

use hobnob_protocol::{Frame, close};
use hobnob_transport::frames::{FrameBatch, FrameReader, ReceiveError};
use quinn::{Connection, SendStream, WriteError};

use super::ended::Stop;

/// Reads the next frame, or closes the connection with the reason why there is none. Cancel-safe.
pub(super) async fn read_frame(
    frames: &mut FrameReader,
    connection: &Connection,
) -> Result<Frame, Stop> {
    let fault = |code, what| Stop::fault(connection, code, what);
    match frames.next().await {
        Ok(bytes) => {
            Frame::decode(&bytes).map_err(|error| fault(close::PROTOCOL, error.to_string()))
        }
        Err(ReceiveError::Lost(error)) => Err(Stop::Lost(error)),
        Err(error @ ReceiveError::TooLarge) => {
            Err(fault(close::FRAME_TOO_LARGE, error.to_string()))
        }
        Err(error @ (ReceiveError::Ended | ReceiveError::Truncated | ReceiveError::Stream(_))) => {
            Err(fault(close::PROTOCOL, error.to_string()))
        }
    }
}

/// Writes the frames, or closes the connection if the peer stopped the stream.
pub(super) async fn write_frames(
    frames: FrameBatch,
    stream: &mut SendStream,
    connection: &Connection,
) -> Result<(), Stop> {
    frames.write(stream).await.map_err(|error| match error {
        WriteError::ConnectionLost(error) => Stop::Lost(error),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            Stop::fault(
                connection,
                close::PROTOCOL,
                format!("a stream that must stay open ended: {error}"),
            )
        }
    })
}
