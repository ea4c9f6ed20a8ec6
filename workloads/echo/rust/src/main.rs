//! Answers with the request: what is left is the price of the boundary itself.

fn handle(request: &[u8]) -> Vec<u8> {
    request.to_vec()
}

isobench_guest::handler!(handle);
