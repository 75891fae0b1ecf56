package main

import (
	"testing"

	"github.com/kipass/kipass/internal/cli/clitest"
)

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }
