// Answers with the request: what is left is the price of the boundary itself.

export function handle(request) {
  return request.slice();
}
