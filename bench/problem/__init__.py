"""What flows through everything: samples, batches and parts, facts and protocols, metrics, overlaps between parts."""
