//! Summary to HTML, terminal table, CSV and Markdown.
