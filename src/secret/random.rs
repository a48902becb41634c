//! Unpredictable random numbers.

use aws_lc_rs::rand;

use super::{Secret, hex};

/// The system provides no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system provides no random numbers")]
pub struct NoRandomness;

/// 256 random bits as hexadecimal digits, which are safe in shells and URLs and selected by one double click.
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
    fn is_long_and_differs_each_time() {
        let (one, other) = (hex().unwrap(), hex().unwrap());
        assert_eq!((one.expose().len(), other.expose().len()), (64, 64));
        assert_ne!(one.expose(), other.expose());
    }
}
