//! Path templates: `/api/v1/courses/{courseId}/share`.

/// The form of a template, for messages.
const A_TEMPLATE: &str = "expected a path such as /api/v1/courses/{courseId}/share";

/// Checks a template. A name in braces is one whole segment, and a template matches no path that
/// [`crate::middleware::route`] rejects, so templates of different shapes never conflict.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<String, &'static str> {
    let segments = text.strip_prefix('/').ok_or(A_TEMPLATE)?;
    let mut names = Vec::new();
    for segment in segments.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let (word, also) = name.map_or((segment, "-_.~@:+$!',"), |name| (name, "_"));
        if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c)) {
            return Err(A_TEMPLATE);
        }
        if matches!(word, "." | "..") {
            return Err("expected a path without dot segments");
        }
        if name.is_some_and(|name| names.contains(&name)) {
            return Err("expected each {name} once");
        }
        names.extend(name);
    }
    Ok(text.to_owned())
}

/// The template without its names: `/api/v1/courses/{}/share`.
#[must_use]
pub fn shape(template: &str) -> String {
    let segments = template.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_whole_segment() {
        for good in ["/api", "/api/v1/courses/{courseId}/share", "/api/{a}/{b}", "/a-b_c.d"] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "api", "/", "/api/", "//api", "/api/<id>", "/api/modules{id}", "/api/{}", "/api/{*rest}", "/api/%2e"]
        {
            assert_eq!(parse(bad), Err(A_TEMPLATE), "{bad}");
        }
        for bad in ["/api/../b", "/api/./b", "/api/{a}/{a}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_shape_has_no_names() {
        assert_eq!(shape("/api/{a}/b/{c}"), "/api/{}/b/{}");
        assert_eq!(shape("/api/b"), "/api/b");
    }
}
