mod bounds;

use proptest::prelude::*;

use super::{invisible::remove_invisible, plain::escape_and_truncate, *};

#[test]
fn markdown_becomes_mrkdwn() {
    for (markdown, mrkdwn) in [
        ("**bold** and __bold__", "*bold* and *bold*"),
        ("*it* _it_ ***both***", "_it_ _it_ _*both*_"),
        ("~~gone~~", "~gone~"),
        ("`a < b`", "`a &lt; b`"),
        ("```rust\nif a < b {}\n```", "```\nif a &lt; b {}\n```"),
        ("```\nnever closed", "```\nnever closed\n```"),
        ("# Head **line**\ntext", "*Head line*\n\ntext"),
        ("one\ntwo  \nthree", "one\ntwo\nthree"),
        ("one\n\n\n\ntwo", "one\n\ntwo"),
        ("a **b\nc** d", "a *b*\n*c* d"),
        ("un**bold**ed", "un\u{200b}*bold*\u{200b}ed"),
        (r"\*not bold\*", "*not bold*"),
        (r"**a\***", "*a**"),
        ("snake_case_name", "snake_case_name"),
        (
            "- a\n- b\n  - c\n  - d\n- e",
            "• a\n• b\n    • c\n    • d\n• e",
        ),
        ("3. a\n4. b", "3. a\n4. b"),
        ("- [x] done\n- [ ] open", "☑ done\n☐ open"),
        ("intro\n- a\n\nafter", "intro\n\n• a\n\nafter"),
        ("> a\n> b\n\nc", "> a\n> b\n\nc"),
        (
            "- a\n  ```\n  code\n  ```",
            "• a\n\n    ```\n    code\n    ```",
        ),
        ("a\n\n---\n\nb", "a\n\n──────────\n\nb"),
        ("a<br>b", "a\nb"),
        ("<b>x</b> &amp; &lt;", "&lt;b&gt;x&lt;/b&gt; &amp; &lt;"),
    ] {
        assert_eq!(from_markdown(markdown), mrkdwn, "{markdown}");
    }
}

#[test]
fn links_lead_to_the_web_and_nowhere_else() {
    for (markdown, mrkdwn) in [
        (
            "[docs](https://x.io/?a=1&b=2)",
            "<https://x.io/?a=1&amp;b=2|docs>",
        ),
        ("[**d|o** `c`](https://x.io)", "<https://x.io|d¦o c>"),
        ("<https://x.io>", "<https://x.io>"),
        ("see https://x.io/a_b_c.", "see <https://x.io/a_b_c>."),
        ("(http://x.io/a?b&c)", "(<http://x.io/a?b&amp;c>)"),
        ("**https://x.io**", "*<https://x.io>*"),
        ("![a cat](https://x.io/c.png)", "<https://x.io/c.png|a cat>"),
        ("[the file](src/main.rs)", "the file (src/main.rs)"),
        ("[x](javascript:alert)", "x (javascript:alert)"),
        ("[x](<https://a|b>)", "<https://a%7Cb|x>"),
    ] {
        assert_eq!(from_markdown(markdown), mrkdwn, "{markdown}");
    }
}

#[test]
fn a_table_becomes_aligned_columns() {
    let table = "| name | n |\n|:--|--:|\n| a | 1 |\n| longer **b** | 23 |";
    assert_eq!(
        from_markdown(table),
        "```\nname     |  n\n---------+---\na        |  1\nlonger b | 23\n```"
    );
}

#[test]
fn a_table_stays_aligned_however_long_a_cell_is() {
    let long = "x".repeat(60);
    assert_eq!(
        from_markdown(&format!("|a|b|\n|-|-|\n|{long}|c|\n|d|e|")),
        format!(
            "```\n{:<40} | b\n{}-+--\n{long} | c\n{:<40} | e\n```",
            "a",
            "-".repeat(40),
            "d"
        )
    );
}

#[test]
fn a_table_of_too_many_cells_is_shown_as_it_is() {
    let table = |columns, rows| {
        let (header, rule) = ("|a".repeat(columns), "|-".repeat(columns));
        format!("{header}\n{rule}\n{}", "a\n".repeat(rows))
    };
    assert!(from_markdown(&table(20, 350)).starts_with("```\na | a | a"));
    assert!(from_markdown(&table(20, 500)).starts_with("|a|a|a"));
    assert!(from_markdown(&format!("> {}", table(2000, 4))).starts_with("> |a|a|a"));
}

#[test]
fn what_is_not_seen_never_reaches_slack() {
    let hidden = "a\u{202e}b\u{200b}c\u{2066}d\u{feff}e\u{e0041}f\u{200d}g";
    assert_eq!(escape(hidden), "abcdefg");
    assert_eq!(escape_one_line(hidden, 100), "abcdefg");
    assert_eq!(escape_and_truncate(hidden, 4), "abc…");
    assert_eq!(clean_terminal_text(hidden), "abcdefg");
    for markdown in [
        "{}",
        "`{}`",
        "```\n{}\n```",
        "|{}|\n|-|",
        "<b>{}</b>",
        "[{}](https://x.io/{})",
        "![{}](src/{})",
        "https://x.io/{}",
    ] {
        let text = markdown.replace("{}", hidden);
        let shown = markdown.replace("{}", "abcdefg");
        assert_eq!(render_head(&text, 100), from_markdown(&shown), "{markdown}");
        assert_eq!(from_markdown(&text), from_markdown(&shown), "{markdown}");
    }
    // Entities, of which the parser makes characters.
    for entity in [
        "&#x202e;",
        "&#8238;",
        "&ZeroWidthSpace;",
        "&rlm;",
        "&#27;",
        "&#xE0041;",
    ] {
        assert_eq!(from_markdown(&format!("a{entity}b")), "ab", "{entity}");
        let link = from_markdown(&format!("[a{entity}b](https://x.io/{entity}c)"));
        assert_eq!(link, "<https://x.io/c|ab>", "{entity}");
    }
    // A family of three, and a word of Persian.
    let whole = "👩\u{200d}👩\u{200d}👧 می\u{200c}خواهم";
    assert_eq!(render_head(whole, 100), whole);
    assert_eq!(from_markdown("👩&zwj;💻"), "👩\u{200d}💻");
}

#[test]
fn a_terminals_output_becomes_what_it_showed() {
    assert_eq!(clean_terminal_text("\x1b[1;32mok\x1b[0m\tx\x07"), "ok\tx");
    assert_eq!(
        clean_terminal_text("10%\r50%\r100%\nnext\r\n"),
        "100%\nnext\n"
    );
    assert_eq!(clean_terminal_text("50%\r"), "50%");
    assert_eq!(clean_terminal_text("\x1b]0;never closed\nnext"), "\nnext");
    assert_eq!(clean_terminal_text("a\u{202e}b"), "ab");
}

#[test]
fn a_tail_begins_with_a_whole_line() {
    assert_eq!(render_tail("one\ntwo", false, 100), "one\ntwo");
    assert_eq!(render_tail("ne\ntwo", true, 100), "…\ntwo");
    assert_eq!(
        render_tail("one line three\nfour\nfive", false, 12),
        "…\nfour\nfive"
    );
    assert_eq!(render_tail("0123456789", false, 7), "…\n56789");
    assert_eq!(render_tail("&&&&", false, 12), "…\n&amp;&amp;");
    assert_eq!(render_tail("", true, 100), "");
    assert_eq!(render_tail(" \n\n", false, 100), "");
}

#[test]
fn a_tail_repairs_the_code_block_that_it_begins_in() {
    let output = "intro intro intro intro\n```rust\nlet a = 1;\nlet b = 2;\n```\ndone";
    assert_eq!(
        render_tail(output, false, 30),
        "…\n```\nlet b = 2;\n```\n\ndone"
    );
    // The beginning is lost: only the later ```rust tells that the first fence closes a block.
    let lost = "x\nlet *b* = 2;\n```\ntext\n```rust\nlet c;\n```\n*end*";
    assert_eq!(
        render_tail(lost, true, 200),
        "…\n```\nlet *b* = 2;\n```\n\ntext\n\n```\nlet c;\n```\n\n_end_"
    );
}

#[test]
fn a_head_ends_with_a_whole_line() {
    assert_eq!(render_head("one\ntwo", 100), "one\ntwo");
    assert_eq!(render_head("one\ntwo\nthree", 9), "one\ntwo\n…");
    assert_eq!(
        render_head("```\none\ntwo\nthree\n```", 20),
        "```\none\ntwo\n```\n…"
    );
    assert_eq!(render_head("0123456789", 5), "0123…");
}

#[test]
fn a_code_block_that_is_cut_is_repaired_in_its_containers() {
    let code = "> - a\n>   ```\n>   one\n>   two\n>   three\n>   ```\n\nend";
    assert_eq!(
        render_head(code, 45),
        "> • a\n> \n>     ```\n>     one\n>     ```\n…"
    );
    assert_eq!(
        render_tail(code, false, 40),
        "…\n>     ```\n>     three\n>     ```\n\nend"
    );
    // A block of one long line is shown as that line's end.
    assert_eq!(render_tail("```\n0123456789\n```", false, 8), "…\n456789");
}

#[test]
fn a_table_that_is_cut_stays_aligned() {
    let table = "|name|n|\n|-|-|\n|a|1|\n|longer|2|\n|b|3|";
    assert_eq!(render_tail(table, false, 22), "…\n```\nb      | 3\n```");
}

#[test]
fn plain_text_is_cut_between_entities() {
    assert_eq!(escape_and_truncate("a & b", 20), "a &amp; b");
    assert_eq!(escape_and_truncate("<<<<", 10), "&lt;&lt;…");
    assert_eq!(escape_one_line("a\n  b\x1b[0m", 20), "a b");
    assert_eq!(escape_and_truncate("abc", 0), "…");
}

/// Every `<…>` is a link, and no `<` or `>` stands elsewhere but at the start of a quote.
fn assert_harmless(mrkdwn: &str) {
    let mut rest = mrkdwn;
    while let Some(at) = rest.find('<') {
        let inside = rest[at + 1..].split('>').next().unwrap_or_default();
        let lower = inside.to_lowercase();
        assert!(
            ["https://", "http://", "mailto:"]
                .iter()
                .any(|scheme| lower.starts_with(scheme)),
            "{mrkdwn:?}"
        );
        rest = &rest[at + 1 + inside.len()..];
    }
}

#[test]
fn nobody_is_notified() {
    for text in [
        "<!channel> <@U1> <!subteam^S1> <#C1>",
        "`<!here>`",
        "```\n<!here>\n```",
        "[<!here>](https://x.io)",
        "[x](!here)",
        "[x](@U1)",
        "<@U1>\n<div><!everyone></div>",
        "| <!here> |\n|--|\n| <@U1> |",
        "https://x.io|<!here>",
    ] {
        assert_harmless(&from_markdown(text));
        assert!(!from_markdown(text).contains("<!"), "{text}");
        assert!(!from_markdown(text).contains("<@"), "{text}");
    }
}

/// Text with everything that means something in Markdown, Slack or a terminal.
fn odd_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-z ]{0,8}",
        1 => "\\PC{0,4}",
        4 => proptest::sample::select(vec![
            "\n", "\n\n", "```", "\n```\n", "~~~", "`", "*", "**", "_", "~~", "<", ">", "&", "|",
            "\n- ", "\n  - ", "\n1. ", "\n> ", "# ", "[", "](", ")", "https://x.io", "<!channel>",
            "<@U1>", "\r", "\x1b[31m", "\x1b]", "🦀", "|-|-|\n", "- [ ] ", "<br>", "&amp;", "\\",
            "    ", "\t", "<https://x.io>", "![",
        ]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn whatever_comes_in_is_harmless(text in odd_text()) {
        assert_harmless(&from_markdown(&text));
        assert_harmless(&render_tail(&text, true, 100));
        assert_harmless(&render_head(&text, 100));
    }

    #[test]
    fn whatever_comes_in_can_be_seen(text in "[\\PC\u{200b}-\u{200f}\u{202a}-\u{202e}\u{e0020}&#x;]{0,40}") {
        let own = |rendered: String| rendered.replace('\u{200b}', "");
        for rendered in [from_markdown(&text), render_tail(&text, true, 30), escape(&text)].map(own) {
            prop_assert_eq!(remove_invisible(&rendered), &*rendered);
        }
    }

    #[test]
    fn what_is_cut_fits(text in odd_text(), cut: bool, max in 10_usize..120) {
        prop_assert!(utf16_len(&render_tail(&text, cut, max)) <= max);
        prop_assert!(utf16_len(&render_head(&text, max)) <= max);
        prop_assert!(utf16_len(&escape_one_line(&text, max)) <= max);
    }
}

#[test]
fn deep_nesting_is_flattened() {
    let deep = format!("{}x", "> ".repeat(5000));
    assert!(utf16_len(&from_markdown(&deep)) < 100);
    let list: Vec<_> = (0..200).map(|n| "  ".repeat(n) + "- x\n").collect();
    let list = list.concat();
    assert!(utf16_len(&from_markdown(&list)) < 10_000);
}
