// Renders a shop's page to HTML from JSON, as server-side rendering does: components are functions that return text, and
// every piece of data is escaped on its way in.

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = (text) => text.replace(/[&<>"']/g, (character) => ENTITIES[character]);

const list = (items, component) => items.map(component).join("");

function money(cents, currency) {
  const units = String((cents - (cents % 100)) / 100).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${units}.${String(cents % 100).padStart(2, "0")} ${escape(currency)}`;
}

const stars = (count) => `<span class="stars" title="${count} of 5">${"★".repeat(count)}${"☆".repeat(5 - count)}</span>`;

const paragraphs = (text) => list(text.split("\n\n"), (part) => `<p>${escape(part).replaceAll("\n", "<br>")}</p>`);

const review = ({ author, stars: count, date, verified, text }) =>
  `<li class="review"><h4>${escape(author)}${verified ? ' <em class="verified">verified</em>' : ""}</h4>` +
  `${stars(count)}<time datetime="${escape(date)}">${escape(date)}</time>${paragraphs(text)}</li>`;

function reviews(all) {
  if (all.length === 0) return `<p class="none">No reviews yet.</p>`;
  const sum = all.reduce((total, { stars: count }) => total + count, 0);
  const tenths = (sum * 10 - ((sum * 10) % all.length)) / all.length;
  return (
    `<details><summary>${(tenths - (tenths % 10)) / 10}.${tenths % 10} from ${all.length} ` +
    `${all.length === 1 ? "review" : "reviews"}</summary><ol>${list(all, review)}</ol></details>`
  );
}

const search = (text) => `/search?q=${encodeURIComponent(text)}`;

const tag = (text) => `<li><a href="${search(text)}" rel="tag">${escape(text)}</a></li>`;

function product({ id, name, description, cents, was_cents, stock, tags, image, reviews: all }, currency) {
  const sale = was_cents !== null;
  return (
    `<article id="product-${id}" class="product${sale ? " sale" : ""}${stock === 0 ? " gone" : ""}">` +
    `<img src="${escape(image.src)}" alt="${escape(image.alt)}" width="${image.width}" height="${image.height}" ` +
    `loading="lazy"><h3><a href="/product/${id}">${escape(name)}</a></h3>` +
    `<p class="price">${sale ? `<del>${money(was_cents, currency)}</del> ` : ""}` +
    `<strong>${money(cents, currency)}</strong></p>${paragraphs(description)}` +
    `<ul class="tags">${list(tags, tag)}</ul>` +
    (stock === 0
      ? `<p class="stock">Sold out</p>`
      : `<form method="post" action="/cart"><input type="hidden" name="product" value="${id}">` +
        `<label>Quantity <input type="number" name="quantity" value="1" min="1" max="${stock}"></label>` +
        `<button>Add to cart</button>${stock < 5 ? `<small>Only ${stock} left</small>` : ""}</form>`) +
    `${reviews(all)}</article>`
  );
}

function pager(current, pages) {
  let links = "";
  for (let page = 1; page <= pages; page++) {
    links += page === current ? `<b aria-current="page">${page}</b>` : `<a href="?page=${page}">${page}</a>`;
  }
  return `<nav class="pager">${links}</nav>`;
}

const page = ({ shop, title, query, user, page: current, pages, products }) =>
  `<!DOCTYPE html>\n<html lang="${escape(shop.language)}"><head><meta charset="utf-8">` +
  `<meta name="viewport" content="width=device-width,initial-scale=1"><title>${escape(title)} – ${escape(shop.name)}` +
  `</title><meta name="description" content="${escape(shop.claim)}"></head><body><header><a href="/">` +
  `${escape(shop.name)}</a><form action="/search"><input name="q" value="${escape(query)}"></form>` +
  (user === null
    ? `<a href="/login">Log in</a>`
    : `<a href="/account">${escape(user.name)}</a> <a href="/cart">Cart (${user.cart})</a>`) +
  `</header><main><h1>${escape(title)}</h1>${list(products, (item) => product(item, shop.currency))}` +
  `${pager(current, pages)}</main><footer>${paragraphs(shop.imprint)}</footer></body></html>\n`;

export function handle(request) {
  return new TextEncoder().encode(page(JSON.parse(new TextDecoder().decode(request))));
}
