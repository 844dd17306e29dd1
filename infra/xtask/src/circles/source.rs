//! The references of one source file to other modules, by its tokens alone.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};

/// The names of a path, `crate` first where it starts at the root of the crate.
pub(super) type ItemPath = Vec<String>;

/// A `use` of one name.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    /// The name in the file.
    pub(super) name: String,
    pub(super) path: ItemPath,
    /// Whether it is a re-export.
    pub(super) public: bool,
}

/// A file's imports, and the paths in the rest of it. Items that only tests compile are left out.
#[derive(Debug, Default)]
pub(super) struct SourceReferences {
    pub(super) imports: Vec<Import>,
    pub(super) paths: BTreeSet<ItemPath>,
    /// The child modules that only tests compile, by their paths.
    pub(super) test_modules: BTreeSet<ItemPath>,
}

impl SourceReferences {
    /// Reads the file of `module`.
    pub(super) fn of(module: &[String], text: &str) -> Result<Self, LexError> {
        let mut source = Self::default();
        source.collect_references(text.parse()?, module);
        Ok(source)
    }

    /// Reads tokens in the module `scope`.
    fn collect_references(&mut self, stream: TokenStream, scope: &[String]) {
        let tokens = tokenize(stream);
        let texts: Vec<_> = tokens.iter().map(|it| it.text.as_str()).collect();
        let mut at = 0;
        while let Some(rest) = texts.get(at..).filter(|rest| !rest.is_empty()) {
            let before = if at == 0 { "" } else { texts[at - 1] };
            at += match rest {
                ["#", "[cfg(test)]", rest @ ..] => {
                    let item = leading_item_tokens(rest);
                    if let ["mod", name, ";"] = item {
                        let name = (*name).to_owned();
                        self.test_modules.insert([scope, &[name]].concat());
                    }
                    2 + item.len()
                }
                // `use<…>` names what an `impl Trait` captures.
                ["use", next, ..] if *next != "<" => {
                    let length = rest.iter().position(|it| *it == ";");
                    let length = length.unwrap_or(rest.len());
                    let mut names = Vec::new();
                    expand_use_tree(&tokens[at + 1..at + length], &[], &mut names);
                    let public = before == "pub" || before == "(";
                    self.imports.extend(names.into_iter().map(|(name, path)| {
                        let path = absolute_path(path, scope);
                        Import { name, path, public }
                    }));
                    length
                }
                ["mod", name, "{", ..] => {
                    let scope = [scope, &[(*name).to_owned()]].concat();
                    self.collect_references(tokens[at + 2].inside.clone(), &scope);
                    3
                }
                ["mod", ..] => 2,
                [word, ..] if is_word(word) => {
                    let path = leading_path(rest);
                    let length = 2 * path.len() - 1;
                    if !["::", ".", "fn"].contains(&before) {
                        self.paths.insert(absolute_path(path, scope));
                    }
                    length
                }
                _ => {
                    self.collect_references(tokens[at].inside.clone(), scope);
                    1
                }
            };
        }
    }
}

/// A word, `::`, another character, a lifetime, or a group with its tokens.
struct Token {
    /// The text; of a group in brackets all of it, without spaces, and of another group its first character.
    text: String,
    inside: TokenStream,
}

fn tokenize(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::<Token>::new();
    for tree in stream {
        let (text, inside) = match tree {
            TokenTree::Literal(_) => continue,
            TokenTree::Group(group) => match group.delimiter() {
                Delimiter::Bracket => (group.to_string().replace(' ', ""), group.stream()),
                Delimiter::Brace => ("{".to_owned(), group.stream()),
                Delimiter::Parenthesis | Delimiter::None => ("(".to_owned(), group.stream()),
            },
            other => (other.to_string(), TokenStream::new()),
        };
        match tokens.last_mut() {
            Some(last) if last.text == "'" || last.text == ":" && text == ":" => last.text += &text,
            _ => tokens.push(Token { text, inside }),
        }
    }
    tokens
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Returns the item that tokens begin with: up to its semicolon or block.
fn leading_item_tokens<'a, 't>(tokens: &'t [&'a str]) -> &'t [&'a str] {
    let is_import = tokens.iter().find(|it| ["use", "{"].contains(*it)) == Some(&"use");
    let is_end = |it: &&str| *it == ";" || *it == "{" && !is_import;
    let end = tokens.iter().position(is_end);
    &tokens[..end.map_or(tokens.len(), |end| end + 1)]
}

/// Returns the path that tokens begin with.
fn leading_path(tokens: &[&str]) -> ItemPath {
    let more = tokens[1..].chunks(2).map_while(|pair| match pair {
        ["::", name] if is_word(name) => Some(*name),
        _ => None,
    });
    let names = tokens.iter().copied().take(1).chain(more);
    names.map(ToOwned::to_owned).collect()
}

/// Adds the names that a `use` tree below a path binds, with their paths.
fn expand_use_tree(tree: &[Token], above: &[String], names: &mut Vec<(String, ItemPath)>) {
    for branch in tree.split(|token| token.text == ",") {
        let (mut path, mut name) = (above.to_vec(), None);
        let mut branch = branch.iter();
        while let Some(token) = branch.next() {
            match token.text.as_str() {
                "::" => {}
                "{" => {
                    expand_use_tree(&tokenize(token.inside.clone()), &path, names);
                    name = None;
                }
                "as" => name = branch.next().map(|it| it.text.clone()),
                "self" if !path.is_empty() => name = path.last().cloned(),
                text => {
                    name = Some(text.to_owned());
                    path.push(text.to_owned());
                }
            }
        }
        names.extend(name.map(|name| (name, path)));
    }
}

/// Returns a path from the root of the crate, if it starts at a known module.
fn absolute_path(path: ItemPath, scope: &[String]) -> ItemPath {
    let up = path.iter().take_while(|name| *name == "super").count();
    let (base, rest) = match path.first().map(String::as_str) {
        Some("self") => (scope, &path[1..]),
        Some("super") => (&scope[..scope.len().saturating_sub(up)], &path[up..]),
        _ => return path,
    };
    [&["crate".to_owned()], base, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SourceReferences {
        SourceReferences::of(&["a".to_owned(), "b".to_owned()], text).unwrap()
    }

    fn imports(text: &str) -> Vec<String> {
        let imports = read(text).imports.into_iter();
        let shown = imports.map(|it| format!("{}={}", it.name, it.path.join("::")));
        shown.collect()
    }

    fn paths(text: &str) -> Vec<String> {
        let paths = read(text).paths.into_iter();
        paths
            .map(|it| it.join("::"))
            .filter(|it| it.contains("::"))
            .collect()
    }

    #[test]
    fn a_use_tree_is_its_names() {
        let found = imports("use crate::{x::{self, Y as Z,}, w::W}; use self::c::*; use super::D;");
        let expected = [
            "x=crate::x",
            "Z=crate::x::Y",
            "W=crate::w::W",
            "*=crate::a::b::c::*",
            "D=crate::a::D",
        ];
        assert_eq!(found, expected);
        assert_eq!(imports("fn f<'a>() -> impl Fn() + use<'a> {}"), [""; 0]);
    }

    #[test]
    fn a_re_export_is_told_from_an_import() {
        let source = read("use c::C; pub use d::D; pub(crate) use e::E;");
        let public = source.imports.iter().map(|it| it.public);
        assert_eq!(public.collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn paths_are_found_in_code_alone() {
        let text = r##"
            // crate::comment::f()
            /* crate::comment::f() */
            fn f<'a>(it: &'a crate::T) -> super::U {
                let text = ("\"crate::text::f()", r#"" crate::text::f()"#, '"', '\'', b'"');
                c::f::<self::V>()
            }
        "##;
        let found = paths(text);
        assert_eq!(found, ["c::f", "crate::T", "crate::a::U", "crate::a::b::V"]);
    }

    #[test]
    fn inline_modules_are_scopes() {
        let text = "mod inline { fn f() { super::g() } } fn f() { super::h() }";
        assert_eq!(paths(text), ["crate::a::b::g", "crate::a::h"]);
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let text = "
            #[cfg(test)] use crate::{x::X, y};
            #[cfg(test)] mod helpers;
            #[cfg(test)] mod tests { use super::*; fn f() { crate::x::f() } }
            #[cfg(test)] fn f(a: [u8; 2]) { crate::x::f() }
            fn g() { crate::z::f() }";
        let source = read(text);
        assert_eq!(source.imports, []);
        let helpers = ["a", "b", "helpers"].map(ToOwned::to_owned);
        assert_eq!(source.test_modules, BTreeSet::from([helpers.to_vec()]));
        assert_eq!(paths(text), ["crate::z::f"]);
    }
}
