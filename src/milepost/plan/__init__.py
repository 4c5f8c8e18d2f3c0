"""What a model is asked, as token ids: made once, the same for every checkpoint. numpy only."""
