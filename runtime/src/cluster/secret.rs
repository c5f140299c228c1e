//! The secret that the processes of a run share.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hmac::{Hmac, KeyInit};
use pipelines::cluster::Secret as Place;
use sha2::Sha256;

use super::error::ClusterError;

/// A secret; it is shown nowhere.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// How many bytes a secret has at least, without white space around it.
pub(super) const LEAST: usize = 16;

/// How many bytes are read of a file: what has more is no secret.
const MOST: u64 = 4 << 10;

impl Secret {
    /// Reads a secret. As of ssh's keys, a file that others may read or write holds none (`ssh(1)`,
    /// `StrictModes` in `sshd_config(5)`).
    pub fn read(place: &Place) -> Result<Secret, ClusterError> {
        match place {
            Place::File(path) => {
                let cannot = |source| ClusterError::File {
                    path: path.clone(),
                    source,
                };
                let (bytes, mode) = content(path).map_err(cannot)?;
                let place = path.display().to_string();
                if mode & OTHERS != 0 {
                    return Err(ClusterError::Secret {
                        help: format!("run `chmod 600 {place}`"),
                        place,
                        why: "can be read or written by others",
                    });
                }
                Secret::of(bytes.trim_ascii(), place)
            }
            Place::Env(name) => {
                let place = format!("the variable {name}");
                let Some(text) = std::env::var_os(name) else {
                    return Err(ClusterError::Secret {
                        place,
                        why: "is not there",
                        help: format!("set {name} where the processes are started"),
                    });
                };
                Secret::of(text.as_encoded_bytes().trim_ascii(), place)
            }
        }
    }

    fn of(bytes: &[u8], place: String) -> Result<Secret, ClusterError> {
        if bytes.len() < LEAST {
            return Err(ClusterError::Secret {
                place,
                why: "is too short",
                help: format!("it has {LEAST} bytes or more, as of `openssl rand -hex 32`"),
            });
        }
        if bytes.len() as u64 >= MOST {
            return Err(ClusterError::Secret {
                place,
                why: "is too long",
                help: format!("it has less than {MOST} bytes, as of `openssl rand -hex 32`"),
            });
        }
        Ok(Secret(bytes.to_vec()))
    }

    /// A MAC under this secret.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }
}

/// The bits of a mode that let somebody else than the owner do something.
const OTHERS: u32 = 0o077;

/// A file's content and mode, of one opening.
fn content(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use hmac::Mac;

    use super::*;

    pub(in crate::cluster) fn secret(text: &str) -> Secret {
        Secret::of(text.as_bytes(), "a test".to_owned()).unwrap()
    }

    fn file(folder: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = folder.join(format!("{mode:o}-{}", content.len()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"0123456789abcdef";
        for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
            let path = file(folder.path(), text, mode);
            let error = Secret::read(&Place::File(path.clone())).unwrap_err();
            assert!(error.to_string().contains("by others"), "{error}");
            let help = format!("run `chmod 600 {}`", path.display());
            assert_eq!(error.help(), Some(help));
        }
        for mode in [0o600, 0o400] {
            let path = file(folder.path(), text, mode);
            assert!(Secret::read(&Place::File(path)).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn white_space_around_a_secret_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), b" 0123456789abcdef\r\n", 0o600);
        let read = Secret::read(&Place::File(path)).unwrap();
        assert_eq!(read.0, b"0123456789abcdef");
    }

    #[test]
    fn a_secret_of_another_length_is_refused_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        for content in [
            &b""[..],
            b"   \n             \n\n",
            b"fifteen-bytes-x",
            &[b'x'; 5000],
        ] {
            let path = file(folder.path(), content, 0o600);
            let error = Secret::read(&Place::File(path)).unwrap_err();
            assert!(error.to_string().contains("is too"), "{error}");
            let said = format!("{error} {error:?} {:?}", error.help());
            assert!(
                !said.contains("fifteen") && !said.contains("xxxx"),
                "{said}"
            );
        }
        assert_eq!(format!("{:?}", secret("0123456789abcdef")), "Secret(..)");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Secret::read(&Place::File("/nowhere/secret".into())).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/secret");
        let error = Secret::read(&Place::Env("TIDEMILL_NO_SUCH_SECRET".to_owned())).unwrap_err();
        assert!(error.to_string().contains("TIDEMILL_NO_SUCH_SECRET"));
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
