"""What a study found: result, headline, analysis, exports, and text output."""
