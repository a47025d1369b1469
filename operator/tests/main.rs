//! What the operator promises, through its public parts.
