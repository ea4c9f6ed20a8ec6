//! The backend traits, the experiments, the stop-watch and the runner protocol.
