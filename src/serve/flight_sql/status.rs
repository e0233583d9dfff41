//! Errors as gRPC tells them.

use arrow::error::ArrowError;
use tonic::{Code, Status};

use crate::serve::failure::Failure;
use crate::sql::error::SqlError;

/// The most bytes of a message: it travels in a header.
const MESSAGE_BYTES_MAX: usize = 4096;

/// `error` with the code of its kind.
pub(super) fn status(error: SqlError) -> Status {
    let mut message = error.to_string();
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push_str(" ...");
    }
    Status::new(code(Failure::of(&error)), message)
}

/// An error of what we make ourselves.
pub(super) fn internal(error: ArrowError) -> Status {
    status(error.into())
}

fn code(failure: Failure) -> Code {
    match failure {
        Failure::Syntax | Failure::Value => Code::InvalidArgument,
        Failure::Unsupported => Code::Unimplemented,
        Failure::Missing => Code::NotFound,
        Failure::Exists | Failure::Unique => Code::AlreadyExists,
        Failure::WrongObject | Failure::NotNull | Failure::TooLong => Code::InvalidArgument,
        Failure::Conflict => Code::Aborted,
        Failure::InUse | Failure::Data => Code::FailedPrecondition,
        Failure::Timeout => Code::DeadlineExceeded,
        Failure::TooLarge | Failure::OutOfMemory => Code::ResourceExhausted,
        Failure::Ended => Code::Aborted,
        Failure::NotDurable | Failure::Stopped => Code::Unavailable,
        Failure::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let status = status(SqlError::Syntax("ä".repeat(MESSAGE_BYTES_MAX)));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().ends_with("ä ...") && status.message().len() < MESSAGE_BYTES_MAX + 8);
    }
}
