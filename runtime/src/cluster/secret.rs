//! The secret that the processes of a run share.

use std::fmt;

use hmac::{Hmac, KeyInit};
use operators::secret::Secret as Place;
use sha2::Sha256;

use super::error::ClusterError;

/// A secret; it is shown nowhere.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// How many bytes a secret has at least, without white space around it.
pub(super) const LEAST: usize = 16;

impl Secret {
    /// Reads it from where it is kept.
    pub fn read(place: &Place) -> Result<Secret, ClusterError> {
        Secret::of(place.read()?, place)
    }

    fn of(bytes: Vec<u8>, place: &Place) -> Result<Secret, ClusterError> {
        if bytes.len() < LEAST {
            let place = place.to_string();
            return Err(ClusterError::ShortSecret { place });
        }
        Ok(Secret(bytes))
    }

    /// A MAC under this secret.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use hmac::Mac;

    use super::*;

    pub(in crate::cluster) fn secret(text: &str) -> Secret {
        Secret::of(text.into(), &Place::Env("A_TEST".to_owned())).unwrap()
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        let place = Place::Env("A_TEST".to_owned());
        for text in ["", "fifteen-bytes-x"] {
            let error = Secret::of(text.into(), &place).unwrap_err();
            let said = format!("{error} {error:?} {:?}", error.help());
            assert!(said.contains("is too short"), "{said}");
            assert!(!said.contains("fifteen"), "{said}");
        }
        assert_eq!(format!("{:?}", secret("0123456789abcdef")), "Secret(..)");
    }

    /// RFC 4231, test case 6: a key that is longer than a block.
    #[test]
    fn a_mac_is_that_of_the_standard() {
        let key = Secret(vec![0xaa; 131]);
        let mut mac = key.mac();
        mac.update(b"Test Using Larger Than Block-Size Key - Hash Key First");
        let expected = [
            0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26, 0xaa, 0xcb, 0xf5,
            0xb7, 0x7f, 0x8e, 0x0b, 0xc6, 0x21, 0x37, 0x28, 0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f,
            0x0e, 0xe3, 0x7f, 0x54,
        ];
        assert!(mac.verify_slice(&expected).is_ok());
    }
}
