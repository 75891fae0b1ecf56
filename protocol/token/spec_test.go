package token_test

import (
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestSpecExamplesAreVectors(t *testing.T) { testkit.SpecExamples(t, 4) }
