//! What a workload links: the handler macro and the frame protocol.
