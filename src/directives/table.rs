//! The two macros behind "declared once".

/// Declares a family of one-value directives: the struct that keeps them, its merge, and their [`Directive`](super::Directive)s.
///
/// Each line is `field: Kind = c"Name" in Context;` with the reference text as its doc comment. The struct's own
/// `settings_of` finds it in a [`Target`](super::Target). Behind `+` come fields of directives that have a syntax of their own; their
/// types merge themselves (`over`).
macro_rules! settings {
    (
        $(#[doc = $struct_doc:literal])*
        pub struct $struct:ident;
        $($(#[doc = $doc:literal])* $field:ident: $kind:ty = $name:literal in $context:ident;)*
        $(+ { $($(#[doc = $own_doc:literal])* $own:ident: $own_type:ty;)* })?
    ) => {
        $(#[doc = $struct_doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $struct {
            $($(#[doc = $doc])* pub $field: Option<$kind>,)*
            $($($(#[doc = $own_doc])* pub $own: $own_type,)*)?
        }

        impl $struct {
            /// These settings where they are made, else those of `base`.
            #[must_use]
            pub fn over(&self, base: &Self) -> Self {
                Self {
                    $($field: self.$field.clone().or_else(|| base.$field.clone()),)*
                    $($($own: self.$own.over(&base.$own),)*)?
                }
            }
        }

        /// The directives that make these settings.
        pub const DIRECTIVES: &[$crate::directives::Directive] = &[$($crate::directives::Directive {
            name: $name,
            context: $crate::directives::Context::$context,
            usage: <$kind as $crate::directives::kinds::Kind>::USAGE,
            text: concat!($($doc, "\n",)*),
            set: |target, words, _place| {
                let place = &mut $struct::settings_of(target)?.$field;
                let value = <$kind as $crate::directives::kinds::Kind>::read(words, place.take())?;
                *place = Some(value);
                Ok(())
            },
        },)*];
    };
}

/// An option for the reference pages: name, values it takes, text.
pub type OptionText = (&'static str, &'static core::ffi::CStr, &'static str);

/// Declares the `name=value` options of a directive: the struct that keeps them and the function that takes one.
macro_rules! options {
    (
        $(#[doc = $struct_doc:literal])*
        pub struct $struct:ident;
        $($(#[doc = $doc:literal])* $field:ident: $kind:ty = $name:literal;)*
    ) => {
        $(#[doc = $struct_doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $struct {
            $($(#[doc = $doc])* pub $field: Option<$kind>,)*
        }

        impl $struct {
            /// Every option.
            pub const OPTIONS: &[$crate::directives::OptionText] =
                &[$(($name, <$kind as $crate::directives::kinds::Kind>::USAGE, concat!($($doc, "\n",)*)),)*];

            /// Takes one option; `None` when there is no such option.
            pub fn take(&mut self, name: &str, value: &str) -> Option<Result<(), $crate::directives::Wrong>> {
                match name {
                    $($name => Some($crate::directives::kinds::parse::<$kind>(value).map(|value| self.$field = Some(value))),)*
                    _ => None,
                }
            }

            /// These options where they are written, else those of `base`.
            #[must_use]
            pub fn over(&self, base: &Self) -> Self {
                Self {
                    $($field: self.$field.clone().or_else(|| base.$field.clone()),)*
                }
            }

            /// The first option that is not written as in `other`.
            pub fn first_difference(&self, other: &Self) -> Option<&'static str> {
                $(if self.$field != other.$field {
                    return Some($name);
                })*
                None
            }
        }
    };
}

pub(crate) use {options, settings};
