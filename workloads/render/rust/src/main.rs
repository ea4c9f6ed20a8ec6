//! Renders a shop's page to HTML from JSON, as server-side rendering does: components are functions that write text, and
//! every piece of data is escaped on its way in.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use serde::Deserialize;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    shop: Shop<'a>,
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    query: Cow<'a, str>,
    #[serde(borrow)]
    user: Option<User<'a>>,
    page: u32,
    pages: u32,
    #[serde(borrow)]
    products: Vec<Product<'a>>,
}

#[derive(Deserialize)]
struct Shop<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    claim: Cow<'a, str>,
    #[serde(borrow)]
    language: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow)]
    imprint: Cow<'a, str>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    cart: u32,
}

#[derive(Deserialize)]
struct Product<'a> {
    id: u32,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Cow<'a, str>,
    cents: u64,
    was_cents: Option<u64>,
    stock: u32,
    #[serde(borrow)]
    tags: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    image: Image<'a>,
    #[serde(borrow)]
    reviews: Vec<Review<'a>>,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    src: Cow<'a, str>,
    #[serde(borrow)]
    alt: Cow<'a, str>,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    author: Cow<'a, str>,
    stars: u32,
    #[serde(borrow)]
    date: Cow<'a, str>,
    verified: bool,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Data inside HTML: escaped.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            out.write_str(&rest[..at])?;
            out.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        out.write_str(rest)
    }
}

/// Data inside an address: the escapes of `encodeURIComponent`.
struct Query<'a>(&'a str);

impl Display for Query<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => write!(out, "{}", byte as char)?,
                b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => write!(out, "{}", byte as char)?,
                _ => write!(out, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

struct Money<'a>(u64, &'a str);

impl Display for Money<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let units = (self.0 / 100).to_string();
        for (i, digit) in units.chars().enumerate() {
            if i > 0 && (units.len() - i).is_multiple_of(3) {
                out.write_str(",")?;
            }
            write!(out, "{digit}")?;
        }
        write!(out, ".{:02} {}", self.0 % 100, Text(self.1))
    }
}

struct Stars(u32);

impl Display for Stars {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let (full, empty) = ("★".repeat(self.0 as usize), "☆".repeat(5 - self.0 as usize));
        write!(out, r#"<span class="stars" title="{} of 5">{full}{empty}</span>"#, self.0)
    }
}

struct Paragraphs<'a>(&'a str);

impl Display for Paragraphs<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        for part in self.0.split("\n\n") {
            out.write_str("<p>")?;
            for (i, line) in part.split('\n').enumerate() {
                write!(out, "{}{}", if i > 0 { "<br>" } else { "" }, Text(line))?;
            }
            out.write_str("</p>")?;
        }
        Ok(())
    }
}

impl Display for Review<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let Self { author, stars, date, verified, text } = self;
        write!(out, r#"<li class="review"><h4>{}"#, Text(author))?;
        if *verified {
            out.write_str(r#" <em class="verified">verified</em>"#)?;
        }
        let (stars, date, text) = (Stars(*stars), Text(date), Paragraphs(text));
        write!(out, r#"</h4>{stars}<time datetime="{date}">{date}</time>{text}</li>"#)
    }
}

fn reviews(out: &mut Formatter, all: &[Review]) -> fmt::Result {
    if all.is_empty() {
        return out.write_str(r#"<p class="none">No reviews yet.</p>"#);
    }
    let count = all.len() as u32;
    let tenths = all.iter().map(|review| review.stars).sum::<u32>() * 10 / count;
    let noun = if count == 1 { "review" } else { "reviews" };
    write!(out, "<details><summary>{}.{} from {count} {noun}</summary><ol>", tenths / 10, tenths % 10)?;
    for review in all {
        review.fmt(out)?;
    }
    out.write_str("</ol></details>")
}

fn product(out: &mut Formatter, item: &Product, currency: &str) -> fmt::Result {
    let Product { id, name, description, cents, was_cents, stock, tags, image, reviews: all } = item;
    let sale = if was_cents.is_some() { " sale" } else { "" };
    let gone = if *stock == 0 { " gone" } else { "" };
    let Image { src, alt, width, height } = image;
    let (src, alt, name) = (Text(src), Text(alt), Text(name));
    write!(out, r#"<article id="product-{id}" class="product{sale}{gone}">"#)?;
    write!(out, r#"<img src="{src}" alt="{alt}" width="{width}" height="{height}" loading="lazy">"#)?;
    write!(out, r#"<h3><a href="/product/{id}">{name}</a></h3><p class="price">"#)?;
    if let Some(was) = was_cents {
        write!(out, "<del>{}</del> ", Money(*was, currency))?;
    }
    let (price, description) = (Money(*cents, currency), Paragraphs(description));
    write!(out, r#"<strong>{price}</strong></p>{description}<ul class="tags">"#)?;
    for tag in tags {
        write!(out, r#"<li><a href="/search?q={}" rel="tag">{}</a></li>"#, Query(tag), Text(tag))?;
    }
    out.write_str("</ul>")?;
    if *stock == 0 {
        out.write_str(r#"<p class="stock">Sold out</p>"#)?;
    } else {
        write!(out, r#"<form method="post" action="/cart"><input type="hidden" name="product" value="{id}">"#)?;
        write!(out, r#"<label>Quantity <input type="number" name="quantity" value="1" min="1" max="{stock}">"#)?;
        out.write_str("</label><button>Add to cart</button>")?;
        if *stock < 5 {
            write!(out, "<small>Only {stock} left</small>")?;
        }
        out.write_str("</form>")?;
    }
    reviews(out, all)?;
    out.write_str("</article>")
}

fn pager(out: &mut Formatter, current: u32, pages: u32) -> fmt::Result {
    out.write_str(r#"<nav class="pager">"#)?;
    for page in 1..=pages {
        if page == current {
            write!(out, r#"<b aria-current="page">{page}</b>"#)?;
        } else {
            write!(out, r#"<a href="?page={page}">{page}</a>"#)?;
        }
    }
    out.write_str("</nav>")
}

impl Display for Page<'_> {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let Self { shop, user, page, pages, products, .. } = self;
        let (title, query) = (Text(&self.title), Text(&self.query));
        let (name, claim, language) = (Text(&shop.name), Text(&shop.claim), Text(&shop.language));
        write!(out, "<!DOCTYPE html>\n<html lang=\"{language}\"><head><meta charset=\"utf-8\">")?;
        out.write_str(r#"<meta name="viewport" content="width=device-width,initial-scale=1">"#)?;
        write!(out, r#"<title>{title} – {name}</title><meta name="description" content="{claim}"></head>"#)?;
        write!(out, r#"<body><header><a href="/">{name}</a>"#)?;
        write!(out, r#"<form action="/search"><input name="q" value="{query}"></form>"#)?;
        match user {
            None => out.write_str(r#"<a href="/login">Log in</a>"#)?,
            Some(User { name, cart }) => {
                write!(out, r#"<a href="/account">{}</a> <a href="/cart">Cart ({cart})</a>"#, Text(name))?;
            }
        }
        write!(out, "</header><main><h1>{title}</h1>")?;
        for item in products {
            product(out, item, &shop.currency)?;
        }
        pager(out, *page, *pages)?;
        writeln!(out, "</main><footer>{}</footer></body></html>", Paragraphs(&shop.imprint))
    }
}

fn handle(request: &[u8]) -> Vec<u8> {
    let page: Page = serde_json::from_slice(request).expect("the request is not the page's data");
    page.to_string().into_bytes()
}

isobench_guest::handler!(handle);
