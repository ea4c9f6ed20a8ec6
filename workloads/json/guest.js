// Parses a shop's orders, adds them up per customer, country and product, and serialises the result.

const percent = (cents, of) => (cents * of - ((cents * of) % 100)) / 100;

/** Most money first; equal sums in the order of their key. */
const bySum = (sum, key) => (a, b) => b[sum] - a[sum] || (a[key] < b[key] ? -1 : 1);

function entry(map, key, make) {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function aggregate({ currency, orders }) {
  const customers = new Map();
  const countries = new Map();
  const products = new Map();
  const notes = [];
  let cancelled = 0;
  let revenue = 0;

  for (const order of orders) {
    if (order.status === "cancelled") {
      cancelled += 1;
      continue;
    }
    let sum = 0;
    for (const line of order.lines) {
      const cents = line.quantity * line.unit_cents;
      sum += cents;
      const product = entry(products, line.sku, () => ({ sku: line.sku, title: line.title, quantity: 0, cents: 0 }));
      product.quantity += line.quantity;
      product.cents += cents;
      if (line.gift !== null) notes.push({ order: order.id, to: line.gift.to, note: line.gift.note });
    }
    if (order.coupon !== null) sum -= percent(sum, order.coupon.percent);

    const { id, name, country } = order.customer;
    const customer = entry(customers, id, () => ({ id, name, orders: 0, cents: 0, last: "", cities: [] }));
    customer.orders += 1;
    customer.cents += sum;
    if (order.placed_at > customer.last) customer.last = order.placed_at;
    const { city } = order.shipping.address;
    if (!customer.cities.includes(city)) customer.cities.push(city);

    const place = entry(countries, country, () => ({ country, orders: 0, cents: 0, shipping_cents: 0 }));
    place.orders += 1;
    place.cents += sum;
    place.shipping_cents += order.shipping.cents;
    revenue += sum;
  }

  return {
    currency,
    orders: orders.length,
    cancelled,
    revenue_cents: revenue,
    customers: [...customers.values()].sort(bySum("cents", "id")),
    countries: [...countries.values()].sort(bySum("cents", "country")),
    products: [...products.values()].sort(bySum("cents", "sku")),
    notes,
  };
}

export function handle(request) {
  return new TextEncoder().encode(JSON.stringify(aggregate(JSON.parse(new TextDecoder().decode(request)))));
}
