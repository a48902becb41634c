//! Where in a JSON value something stands, as a JSON pointer (RFC 6901).

/// Longer pointers end at the last ancestor that fits. A pointer repeats the caller's own keys, once per fault, and
/// keys can be as long as the payload.
const LONGEST: usize = 512;

/// A way down from the root, each step living in the stack frame of the value it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'p> {
    /// The value as a whole.
    Root,
    /// The entry of an object.
    Key(&'p Path<'p>, &'p str),
    /// The element of an array.
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// How many arrays and objects are around this place.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Root => 0,
            Self::Key(parent, _) | Self::Index(parent, _) => parent.depth() + 1,
        }
    }

    /// The pointer to this place; `""` for the root.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = String::new();
        // Once a step was too long, the shorter ones after it would point elsewhere.
        let _complete = self.write(&mut pointer);
        pointer
    }

    fn write(&self, pointer: &mut String) -> bool {
        match self {
            Self::Root => true,
            // Measured before escaping: most keys that are too long are so without it.
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
    fn escapes_as_rfc_6901_asks() {
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
