"""Methods in which one net teaches another: frozen unimodal teachers, or the modality that is ahead on a sample."""
