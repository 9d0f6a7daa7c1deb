//! Frames of a session: what a broken frame means for it.

use bytes::Bytes;
use hobnob_protocol::compression::COMPRESSED_BATCH;
use hobnob_protocol::{CompressedBatch, Frame, FrameError, close};
use hobnob_transport::frames::{FrameBatch, FrameReader, ReceiveError};
use quinn::{Connection, SendStream, WriteError};

use super::ended::Stop;
use crate::net::compression::{Compressor, Damaged};

/// Reads the next frame, or closes the connection with the reason why there is none. Cancel-safe.
pub(super) async fn read_frame(
    frames: &mut FrameReader,
    connection: &Connection,
) -> Result<Frame, Stop> {
    let bytes = next_frame(frames, connection).await?;
    Frame::decode(&bytes).map_err(|error| broken(connection, &error))
}

/// Like [`read_frame`], on the stream of batches, which may be compressed.
pub(super) async fn read_batch_frame(
    frames: &mut FrameReader,
    connection: &Connection,
    compressor: &Compressor,
) -> Result<Frame, Stop> {
    let bytes = next_frame(frames, connection).await?;
    decode_batch_frame(&bytes, compressor).map_err(|error| broken(connection, &error))
}

fn decode_batch_frame(bytes: &Bytes, compressor: &Compressor) -> Result<Frame, BatchFrameError> {
    if bytes.first() != Some(&COMPRESSED_BATCH) {
        return Ok(Frame::decode(bytes)?);
    }
    Ok(match CompressedBatch::decode(bytes)? {
        Some(compressed) => Frame::Batch(compressor.decompress_batch(compressed)?),
        None => Frame::Unknown(COMPRESSED_BATCH),
    })
}

/// Why a frame on the stream of batches can't be read.
#[derive(Debug, thiserror::Error)]
enum BatchFrameError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

fn broken(connection: &Connection, error: &impl ToString) -> Stop {
    Stop::fault(connection, close::PROTOCOL, error.to_string())
}

async fn next_frame(frames: &mut FrameReader, connection: &Connection) -> Result<Bytes, Stop> {
    let fault = |code, what| Stop::fault(connection, code, what);
    match frames.next().await {
        Ok(bytes) => Ok(bytes),
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
