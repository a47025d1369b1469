//! Tests of the cluster that tests run on, and of the chart.

mod chart;
mod cluster;
mod release;
