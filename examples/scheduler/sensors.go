package main

import (
	"fmt"
	"log/slog"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// readings returns what polls the sensors that a file describes.
func readings(c *config.Config, log *slog.Logger) (scoring.Readings, error) {
	return nil, fmt.Errorf("%s: sensors: no back end is built in", c.File)
}
