//! Rust sources read as text: comments and literals blanked, `use` groups expanded, tests left out.

/// A path in the source: `a::b::{c, d}` is two.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    pub(crate) is_use: bool,
}

/// A word, or one other character; `::` is one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Every path of two segments or more, and every path of a `use`.
pub(crate) fn imports(source: &str) -> Vec<Import> {
    let tokens = without_tests(&tokens(&blank(source)));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text.as_str());
        if !is_word(&tokens[at].text) || before == "." || (before == "::" && at > 1 && is_word(&tokens[at - 2].text)) {
            at += 1;
            continue;
        }
        let in_use = before == "use" || (before == "::" && at > 1 && tokens[at - 2].text == "use");
        let mut paths = Vec::new();
        let line = tokens[at].line;
        let end = read_path(&tokens, at, &[], &mut paths);
        found.extend(paths.into_iter().filter(|path| in_use || path.len() > 1).map(|path| Import {
            path,
            line,
            is_use: in_use,
        }));
        at = end.max(at + 1);
    }
    found
}

/// Reads one path, with its groups, from `at`; returns where it ends.
fn read_path(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token.text != "}") {
                let end = read_path(tokens, at, &path, found);
                at = end.max(at + 1);
            }
            return at + 1;
        }
        if !is_word(&token.text) && token.text != "*" {
            break;
        }
        path.push(token.text.clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
    at
}

pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(Token { text: token.to_owned(), line });
        }
        line += usize::from(first == '\n');
        rest = after;
    }
    tokens
}

/// Leaves out each item behind `#[cfg(test)]`: to its closing brace or its semicolon.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().map(|token| token.text.as_str()).take(MARK.len()).eq(MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut depth = 0_usize;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.text.as_str() {
                "{" => depth += 1,
                "}" if depth <= 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// Blanks comments and literals, keeping line breaks.
pub(crate) fn blank(source: &str) -> String {
    let mut blanked = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skip = literal_or_comment(rest, blanked.chars().next_back());
        let (gone, after) = rest.split_at(if skip > 0 { skip } else { first.len_utf8() });
        if skip > 0 {
            blanked.push(' ');
            blanked.extend(gone.chars().filter(|c| *c == '\n'));
        } else {
            blanked.push(first);
        }
        rest = after;
    }
    blanked
}

/// The length of the comment or literal that `rest` begins with, or 0.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return escaped(rest, '"');
    }
    if rest.starts_with('r') && !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' && c != 'c') {
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            return until(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        // A lifetime has no second quote right behind its first character.
        let mut characters = inside.chars();
        let (one, two) = (characters.next(), characters.next());
        if one == Some('\\') {
            return escaped(rest, '\'');
        }
        if two == Some('\'') {
            return 2 + one.map_or(0, char::len_utf8);
        }
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn escaped(rest: &str, quote: char) -> usize {
    let mut escape = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escape => escape = false,
            '\\' => escape = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}
