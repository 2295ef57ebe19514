"""The answer of a study: result, headline, analysis, exports, and text output."""
