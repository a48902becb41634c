//! The position of a value in JSON, as a JSON pointer (RFC 6901).

/// The maximum length in bytes; longer pointers end at the last ancestor that fits. A pointer repeats the caller's keys
/// once per fault, and a key can be as long as the payload.
const LONGEST: usize = 512;

/// The steps from the root to a value. Each step is in the stack frame that reads its value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'p> {
    /// The value as a whole.
    Root,
    /// A key of an object.
    Key(&'p Path<'p>, &'p str),
    /// An index of an array.
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// How many arrays and objects contain the value.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Root => 0,
            Self::Key(parent, _) | Self::Index(parent, _) => parent.depth() + 1,
        }
    }

    /// The JSON pointer to the value; `""` for the root.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = String::new();
        // After a step that is too long, a shorter one would point to another value.
        let _complete = self.write(&mut pointer);
        pointer
    }

    fn write(&self, pointer: &mut String) -> bool {
        match self {
            Self::Root => true,
            // Most keys that are too long are so before escaping, so the length is checked first.
            Self::Key(parent, key) => {
                parent.write(pointer)
                    && key.len() <= LONGEST
                    && step(pointer, &key.replace('~', "~0").replace('/', "~1"))
            }
            Self::Index(parent, index) => parent.write(pointer) && step(pointer, &index.to_string()),
        }
    }
}

/// Adds one step if it still fits.
fn step(pointer: &mut String, token: &str) -> bool {
    let fits = pointer.len() + 1 + token.len() <= LONGEST;
    if fits {
        pointer.push('/');
        pointer.push_str(token);
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_rfc_6901_requires() {
        let (root, list);
        root = Path::Root;
        list = Path::Key(&root, "a/b~1");
        assert_eq!(root.pointer(), "");
        assert_eq!(Path::Index(&list, 7).pointer(), "/a~1b~01/7");
        assert_eq!(Path::Key(&root, "").pointer(), "/");
    }

    #[test]
    fn ends_at_the_last_ancestor_that_fits() {
        let long = "k".repeat(LONGEST);
        let outer = Path::Key(&Path::Root, "outer");
        let inner = Path::Key(&outer, &long);
        assert_eq!(Path::Index(&inner, 0).pointer(), "/outer");
    }
}
