//! Tests of the cluster itself and of what is made for clusters.
