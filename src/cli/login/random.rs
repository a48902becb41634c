//! Unguessable text.

use aws_lc_rs::rand;

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// 256 random bits in hexadecimal digits.
pub(super) fn hex() -> Result<String, NoRandomness> {
    let mut bits = [0; 32];
    rand::fill(&mut bits).map_err(|_| NoRandomness)?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_long_and_never_the_same() {
        let (one, other) = (hex().unwrap(), hex().unwrap());
        assert_eq!((one.len(), other.len()), (64, 64));
        assert_ne!(one, other);
    }
}
