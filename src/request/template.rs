//! `%{GLOBAL}`, `%{SERVER}`, `%{HOST}`, `%{RESOURCE}`, `%{ENV:…}`: whole values only, as in mod_wsgi.

use std::sync::Arc;

/// A value as written, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// Itself. Forms that do not exist are literal too.
    Literal(Arc<str>),
    /// `%{GLOBAL}`: the empty name.
    Global,
    /// `%{SERVER}`.
    Server,
    /// `%{HOST}`.
    Host,
    /// `%{RESOURCE}`.
    Resource,
    /// `%{ENV:name}`.
    Variable(Arc<str>),
}

/// What the forms stand for in a request.
pub trait Names {
    /// `%{SERVER}`: from the server's own configuration.
    fn server(&self) -> String;
    /// `%{HOST}`: from the client.
    fn host(&self) -> String;
    /// `%{RESOURCE}`.
    fn resource(&self) -> String;
    /// A note, a variable of the request's environment, or of httpd's; in this order.
    fn variable(&self, name: &str) -> Option<String>;
}

impl Template {
    /// Takes a value apart.
    pub fn new(text: &str) -> Self {
        match text {
            "%{GLOBAL}" => Self::Global,
            "%{SERVER}" => Self::Server,
            "%{HOST}" => Self::Host,
            "%{RESOURCE}" => Self::Resource,
            _ => match text
                .strip_prefix("%{ENV:")
                .and_then(|rest| rest.strip_suffix('}'))
            {
                Some(name) => Self::Variable(name.into()),
                None => Self::Literal(text.into()),
            },
        }
    }

    /// The value, if it is the same for every request.
    pub fn fixed(&self) -> Option<&str> {
        match self {
            Self::Global => Some(""),
            Self::Literal(text) if !text.contains("%{") => Some(text),
            _ => None,
        }
    }

    /// The name of a group in this request.
    pub fn group(&self, names: &impl Names) -> String {
        match self {
            Self::Literal(text) => text.as_ref().to_owned(),
            Self::Global => String::new(),
            Self::Server => names.server(),
            Self::Host => names.host(),
            Self::Resource => names.resource(),
            Self::Variable(variable) => match names.variable(variable) {
                None => format!("%{{ENV:{variable}}}"),
                Some(value) => match Self::new(&value) {
                    // One more expansion, but not a chain of variables.
                    Self::Variable(_) => value,
                    inner => inner.group(names),
                },
            },
        }
    }

    /// The name of a callable in this request: only `%{ENV:…}` is expanded, once.
    pub fn callable(&self, names: &impl Names) -> String {
        let value = match self {
            Self::Literal(text) if !text.starts_with('%') => Some(text.as_ref().to_owned()),
            Self::Variable(variable) => names.variable(variable),
            _ => None,
        };
        value
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| DEFAULT_CALLABLE.to_owned())
    }
}

/// The callable that scripts have by default.
pub const DEFAULT_CALLABLE: &str = "application";

#[cfg(test)]
mod tests {
    use super::*;

    struct Request;

    impl Names for Request {
        fn server(&self) -> String {
            "site:8000".into()
        }
        fn host(&self) -> String {
            "www.site:8000".into()
        }
        fn resource(&self) -> String {
            "site:8000|/app".into()
        }
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "plain" => Some("blue".into()),
                "global" => Some("%{GLOBAL}".into()),
                "server" => Some("%{SERVER}".into()),
                "chain" => Some("%{ENV:plain}".into()),
                _ => None,
            }
        }
    }

    fn group(text: &str) -> String {
        Template::new(text).group(&Request)
    }

    #[test]
    fn each_form_stands_for_its_name() {
        assert_eq!(group("plain"), "plain");
        assert_eq!(group("%{GLOBAL}"), "");
        assert_eq!(group("%{SERVER}"), "site:8000");
        assert_eq!(group("%{HOST}"), "www.site:8000");
        assert_eq!(group("%{RESOURCE}"), "site:8000|/app");
        assert_eq!(group("%{ENV:plain}"), "blue");
    }

    #[test]
    fn a_variable_is_expanded_once_more_but_never_as_a_chain() {
        assert_eq!(group("%{ENV:server}"), "site:8000");
        assert_eq!(group("%{ENV:global}"), "");
        assert_eq!(group("%{ENV:chain}"), "%{ENV:plain}");
    }

    #[test]
    fn unknown_forms_and_missing_variables_stay_as_they_are() {
        assert_eq!(group("%{NOTHING}"), "%{NOTHING}");
        assert_eq!(group("a%{GLOBAL}"), "a%{GLOBAL}");
        assert_eq!(group("%{ENV:none}"), "%{ENV:none}");
    }

    #[test]
    fn callables_know_variables_only() {
        let callable = |text: &str| Template::new(text).callable(&Request);
        assert_eq!(callable("app"), "app");
        assert_eq!(callable("%{ENV:plain}"), "blue");
        for default in ["%{ENV:none}", "%{GLOBAL}", "%", "%{HOST}"] {
            assert_eq!(callable(default), "application", "{default}");
        }
    }
}
