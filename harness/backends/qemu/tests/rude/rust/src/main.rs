//! A guest that does what the request says, however rude: the fixture of the tests of faults.

fn handle(request: &[u8]) -> Vec<u8> {
    match request {
        b"hang" => loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        },
        b"panic" => panic!("as told"),
        b"exit" => std::process::exit(3),
        // Written to, or the kernel would never give the pages.
        b"eat" => vec![7; 1 << 30],
        b"answer too much" => vec![7; 20 << 20],
        b"flood the console" => {
            for _ in 0..8_000 {
                println!("{:64}", "a line that says nothing");
            }
            request.to_vec()
        }
        _ => request.to_vec(),
    }
}

isobench_guest::handler!(handle);
