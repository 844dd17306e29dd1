//! The conversion of Markdown to mrkdwn.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, TextMergeStream};

use super::{
    invisible::remove_invisible,
    nesting::limit_nesting,
    plain::escape,
    table::{self, Table},
    writer::{Container, Writer},
};

/// The text of a horizontal rule.
const HORIZONTAL_RULE: &str = "──────────";

/// Converts Markdown to Slack's mrkdwn. Line breaks stay where they are, as in a chat.
///
/// Time and memory are linear in the length: containers are nested to a limited depth, tables have
/// a limited number of cells and widths, and the parser itself limits what references expand to.
pub(crate) fn from_markdown(markdown: &str) -> String {
    let mut options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    options.set(Options::ENABLE_TABLES, table::has_few_cells(markdown));
    let markdown = limit_nesting(markdown);
    let mut converter = Converter::default();
    for event in TextMergeStream::new(Parser::new_ext(&markdown, options)) {
        converter.event(event);
    }
    converter.writer.finish()
}

#[derive(Default)]
struct Converter {
    writer: Writer,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// The plain text that is collected instead of written: code, a link's label, a table's cell.
    plain: Option<String>,
    /// The addresses of open links and images. Inner ones are text of the outermost.
    links: Vec<String>,
    table: Option<Table>,
}

impl Converter {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start_tag(tag),
            Event::End(tag) => self.end_tag(tag),
            // An entity may stand for a character that must not reach Slack: they are removed here,
            // after the parser.
            Event::Text(text) => self.add_text(&remove_invisible(&text)),
            Event::Code(code) => self.add_inline_code(&remove_invisible(&code)),
            Event::Html(html) | Event::InlineHtml(html) => self.add_html(&remove_invisible(&html)),
            Event::SoftBreak | Event::HardBreak => self.add_line_break(),
            Event::Rule => {
                self.writer.start_block();
                self.writer.write_raw(HORIZONTAL_RULE);
            }
            Event::TaskListMarker(done) => self.writer.set_checkbox(done),
            // These options are off.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.add_text(&text);
            }
        }
    }

    fn start_tag(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.writer.start_block(),
            Tag::Heading { .. } => {
                self.writer.start_block();
                self.writer.open_emphasis('*');
            }
            Tag::BlockQuote(_) => {
                self.writer.start_block();
                self.writer.enter_container(Container::Quote);
            }
            Tag::CodeBlock(_) | Tag::TableCell => self.plain = Some(String::new()),
            Tag::List(first) => self.start_list(first),
            Tag::Item => self.start_item(),
            Tag::Table(alignments) => {
                let rows = Vec::new();
                self.table = Some(Table { alignments, rows });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            // Emphasis is left out within plain text.
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough if self.plain.is_some() => {}
            Tag::Emphasis => self.writer.open_emphasis('_'),
            Tag::Strong => self.writer.open_emphasis('*'),
            Tag::Strikethrough => self.writer.open_emphasis('~'),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.start_link(&dest_url),
            _ => {}
        }
    }

    fn end_tag(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.writer.close_emphasis(),
            TagEnd::BlockQuote(_) | TagEnd::Item => self.writer.leave_container(),
            TagEnd::CodeBlock => {
                let code = self.plain.take().unwrap_or_default();
                self.writer.write_code_block(&code);
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::TableCell => {
                let text = self.plain.take().unwrap_or_default();
                if let Some(table) = &mut self.table {
                    table.push_cell(&text);
                }
            }
            TagEnd::Table => {
                let table = self.table.take().unwrap_or_default();
                self.writer.write_code_block(&table.render_plain_text());
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough if self.plain.is_none() => {
                self.writer.close_emphasis();
            }
            TagEnd::Link | TagEnd::Image => self.end_link(),
            _ => {}
        }
    }

    fn start_list(&mut self, first: Option<u64>) {
        if self.lists.is_empty() {
            self.writer.start_block();
        } else {
            self.writer.start_line();
        }
        self.lists.push(first);
    }

    fn start_item(&mut self) {
        let bullet = match self.lists.last_mut() {
            Some(Some(number)) => {
                let bullet = format!("{number}. ");
                *number = number.saturating_add(1);
                bullet
            }
            _ => "• ".to_owned(),
        };
        self.writer.enter_container(Container::Item { bullet });
    }

    fn add_text(&mut self, text: &str) {
        match &mut self.plain {
            Some(plain) => plain.push_str(text),
            None => self.add_linkified_text(text),
        }
    }

    /// Writes text, with the bare addresses in it as links: Slack adds none to verbatim text.
    fn add_linkified_text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = find_url(rest) {
            self.writer.write_text(&rest[..at]);
            let address = leading_url(&rest[at..]);
            self.writer.write_raw(&format!("<{}>", encode_url(address)));
            rest = &rest[at + address.len()..];
        }
        self.writer.write_text(rest);
    }

    fn add_inline_code(&mut self, code: &str) {
        match &mut self.plain {
            Some(plain) => plain.push_str(code),
            None => self.writer.write_inline_code(code),
        }
    }

    fn add_html(&mut self, html: &str) {
        match &*html.trim().to_ascii_lowercase() {
            "<br>" | "<br/>" | "<br />" => self.add_line_break(),
            _ => self.add_text(html),
        }
    }

    fn add_line_break(&mut self) {
        match &mut self.plain {
            Some(plain) => plain.push(' '),
            None => self.writer.write_line_break(),
        }
    }

    fn start_link(&mut self, address: &str) {
        if self.links.is_empty() && self.table.is_none() {
            self.plain = Some(String::new());
        }
        self.links.push(remove_invisible(address).into_owned());
    }

    fn end_link(&mut self) {
        let address = self.links.pop().unwrap_or_default();
        if !self.links.is_empty() || self.table.is_some() {
            return;
        }
        let label = self.plain.take().unwrap_or_default();
        self.writer.write_raw(&render_link(&address, label.trim()));
    }
}

/// Renders a link, or both its parts as text if it leads neither to the web nor to a mailbox.
fn render_link(address: &str, label: &str) -> String {
    let is_plain = label.is_empty() || label == address;
    let is_safe = ["https://", "http://", "mailto:"].iter().any(
        |scheme| matches!(address.get(..scheme.len()), Some(it) if it.eq_ignore_ascii_case(scheme)),
    );
    match (is_safe, is_plain) {
        (true, true) => format!("<{}>", encode_url(address)),
        (true, false) => format!(
            "<{}|{}>",
            encode_url(address),
            escape(&label.replace('|', "¦"))
        ),
        (false, true) => escape(address),
        (false, false) => escape(&format!("{label} ({address})")),
    }
}

/// Encodes an address so that it can be between `<` and `>`.
fn encode_url(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for c in address.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            '|' => out.push_str("%7C"),
            c if c.is_whitespace() || c.is_control() => out.push_str("%20"),
            c => out.push(c),
        }
    }
    out
}

/// Returns the position of the first bare address, which no letter or digit precedes. It reads no
/// further than that, so that the search for all addresses of a text is one pass over it.
fn find_url(text: &str) -> Option<usize> {
    let mut starts = text.match_indices("http").map(|(at, _)| at);
    starts.find(|at| {
        let before = text[..*at].chars().next_back();
        let address = ["https://", "http://"]
            .iter()
            .find_map(|scheme| text[*at..].strip_prefix(scheme));
        !before.is_some_and(char::is_alphanumeric)
            && address.is_some_and(|it| it.starts_with(char::is_alphanumeric))
    })
}

/// Returns the address at the start of `text`, without the punctuation of the sentence around it.
fn leading_url(text: &str) -> &str {
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '|' | '`'))
        .unwrap_or(text.len());
    let address = text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
    match address.strip_suffix(')') {
        Some(inside) if !inside.contains('(') => inside,
        _ => address,
    }
}
