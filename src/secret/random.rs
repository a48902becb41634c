//! Random numbers that nobody can guess.

use aws_lc_rs::rand;

use super::{Secret, hex};

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// 256 random bits in hexadecimal digits, which no shell, URL or double click breaks apart.
///
/// # Errors
/// [`NoRandomness`].
pub fn hex() -> Result<Secret, NoRandomness> {
    let mut bits = [0; 32];
    rand::fill(&mut bits).map_err(|_| NoRandomness)?;
    Ok(Secret::new(hex::lower(&bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_long_and_never_the_same() {
        let (one, other) = (hex().unwrap(), hex().unwrap());
        assert_eq!((one.expose().len(), other.expose().len()), (64, 64));
        assert_ne!(one.expose(), other.expose());
    }
}
