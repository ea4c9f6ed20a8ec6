//! Parses a shop's orders, adds them up per customer, country and product, and serialises the result.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow)]
    orders: Vec<Order<'a>>,
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    customer: Buyer<'a>,
    #[serde(borrow)]
    placed_at: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    coupon: Option<Coupon>,
    #[serde(borrow)]
    lines: Vec<Line<'a>>,
    #[serde(borrow)]
    shipping: Shipping<'a>,
}

#[derive(Deserialize)]
struct Buyer<'a> {
    id: u64,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Coupon {
    percent: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow)]
    title: Cow<'a, str>,
    quantity: u64,
    unit_cents: u64,
    #[serde(borrow)]
    gift: Option<Gift<'a>>,
}

#[derive(Deserialize)]
struct Gift<'a> {
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(borrow)]
    note: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Shipping<'a> {
    cents: u64,
    #[serde(borrow)]
    address: Address<'a>,
}

#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow)]
    city: Cow<'a, str>,
}

#[derive(Serialize)]
struct Summary<'a> {
    currency: &'a str,
    orders: usize,
    cancelled: u64,
    revenue_cents: u64,
    customers: Vec<Customer<'a>>,
    countries: Vec<Country<'a>>,
    products: Vec<Product<'a>>,
    notes: Vec<Note<'a>>,
}

#[derive(Serialize)]
struct Customer<'a> {
    id: u64,
    name: &'a str,
    orders: u64,
    cents: u64,
    last: &'a str,
    cities: Vec<&'a str>,
}

#[derive(Serialize)]
struct Country<'a> {
    country: &'a str,
    orders: u64,
    cents: u64,
    shipping_cents: u64,
}

#[derive(Serialize)]
struct Product<'a> {
    sku: &'a str,
    title: &'a str,
    quantity: u64,
    cents: u64,
}

#[derive(Serialize)]
struct Note<'a> {
    order: &'a str,
    to: &'a str,
    note: &'a str,
}

fn aggregate<'a>(Request { currency, orders }: &'a Request) -> Summary<'a> {
    let mut customers: HashMap<u64, Customer> = HashMap::new();
    let mut countries: HashMap<&str, Country> = HashMap::new();
    let mut products: HashMap<&str, Product> = HashMap::new();
    let mut notes = Vec::new();
    let mut cancelled = 0;
    let mut revenue = 0;

    for order in orders {
        if order.status == "cancelled" {
            cancelled += 1;
            continue;
        }
        let mut sum = 0;
        for line in &order.lines {
            let cents = line.quantity * line.unit_cents;
            sum += cents;
            let product = products.entry(&line.sku);
            let product =
                product.or_insert_with(|| Product { sku: &line.sku, title: &line.title, quantity: 0, cents: 0 });
            product.quantity += line.quantity;
            product.cents += cents;
            if let Some(gift) = &line.gift {
                notes.push(Note { order: &order.id, to: &gift.to, note: &gift.note });
            }
        }
        if let Some(coupon) = &order.coupon {
            sum -= sum * coupon.percent / 100;
        }

        let Buyer { id, name, country } = &order.customer;
        let customer = customers.entry(*id);
        let customer =
            customer.or_insert_with(|| Customer { id: *id, name, orders: 0, cents: 0, last: "", cities: Vec::new() });
        customer.orders += 1;
        customer.cents += sum;
        customer.last = customer.last.max(&order.placed_at);
        let city = &*order.shipping.address.city;
        if !customer.cities.contains(&city) {
            customer.cities.push(city);
        }

        let place = countries.entry(country);
        let place = place.or_insert_with(|| Country { country, orders: 0, cents: 0, shipping_cents: 0 });
        place.orders += 1;
        place.cents += sum;
        place.shipping_cents += order.shipping.cents;
        revenue += sum;
    }

    // Most money first; equal sums in the order of their key.
    let mut customers: Vec<_> = customers.into_values().collect();
    customers.sort_by_key(|customer| (Reverse(customer.cents), customer.id));
    let mut countries: Vec<_> = countries.into_values().collect();
    countries.sort_by_key(|place| (Reverse(place.cents), place.country));
    let mut products: Vec<_> = products.into_values().collect();
    products.sort_by_key(|product| (Reverse(product.cents), product.sku));
    Summary { currency, orders: orders.len(), cancelled, revenue_cents: revenue, customers, countries, products, notes }
}

fn handle(request: &[u8]) -> Vec<u8> {
    let request = serde_json::from_slice(request).expect("the request is not the orders this workload knows");
    serde_json::to_vec(&aggregate(&request)).expect("a summary has no map with other keys than text")
}

isobench_guest::handler!(handle);
