package config

// Expand lets tests expand a template.
var Expand = expand
