// Package clitest holds every program's command line to the rules of package cli. Only tests import it.
package clitest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kipass/kipass/internal/cli"
)

// Result is what a run left behind.
type Result struct {
	Out, Err string
	Status   int
}

// Run runs a program with arguments and nothing on its standard input.
func Run(t testing.TB, root *cobra.Command, args ...string) Result {
	t.Helper()
	var out, errs bytes.Buffer
	status := cli.Run(t.Context(), root, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return Result{out.String(), errs.String(), status}
}

// Conforms checks a program against the rules that are the same for all. build makes its command tree anew.
func Conforms(t *testing.T, build func() *cobra.Command) {
	t.Run("words", func(t *testing.T) { walk(build(), func(c *cobra.Command) { checkWords(t, c) }) })
	t.Run("help", func(t *testing.T) { walk(build(), func(c *cobra.Command) { checkHelp(t, build(), c) }) })
	t.Run("wrong usage", func(t *testing.T) { walk(build(), func(c *cobra.Command) { checkWrongUsage(t, build, c) }) })
	t.Run("version", func(t *testing.T) {
		name := build().Name()
		r := Run(t, build(), "--version")
		if r.Status != cli.StatusDone || !strings.HasPrefix(r.Out, name+" ") || r.Err != "" {
			t.Errorf("--version: %+v", r)
		}
	})
	t.Run("completion", func(t *testing.T) { checkCompletion(t, build) })
	t.Run("manual", func(t *testing.T) { checkManual(t, build) })
}

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

// path returns the arguments that call a command.
func path(cmd *cobra.Command, more ...string) []string {
	return append(strings.Fields(cmd.CommandPath())[1:], more...)
}

// checkWords checks that texts are in both languages and that a flag's name means what it means everywhere.
func checkWords(t *testing.T, cmd *cobra.Command) {
	texts := map[string]string{cmd.CommandPath(): cmd.Short}
	if cmd.Long != "" {
		texts[cmd.CommandPath()+", long"] = cmd.Long
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		where := cmd.CommandPath() + " --" + f.Name
		texts[where] = f.Usage
		if kind, known := vocabulary[f.Name]; !known || kind != f.Value.Type() {
			t.Errorf("%s %s is not in the vocabulary (%q there): one word for one thing in all programs",
				where, f.Value.Type(), kind)
		}
		if f.Shorthand != "" && f.Name != "help" {
			t.Errorf("%s has the short form -%s; only help has one", where, f.Shorthand)
		}
		told := f.DefValue != "" || strings.Contains(f.Usage, "기본값") && strings.Contains(f.Usage, "default")
		if !told && !cli.Required(f) {
			t.Errorf("%s: neither required nor is its default told", where)
		}
	})
	for where, text := range texts {
		korean, english := cli.Halves(text)
		if !hangul(korean) || strings.Contains(english, " / ") || !strings.ContainsFunc(english, latin) {
			t.Errorf("%s: %q is not 한국어 / English", where, text)
		}
	}
}

func hangul(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Hangul, r) })
}
func latin(r rune) bool { return r < unicode.MaxASCII && unicode.IsLetter(r) }

// checkHelp checks that help is an answer, that it names every flag with its default, and Korean above English.
func checkHelp(t *testing.T, root, cmd *cobra.Command) {
	r := Run(t, root, path(cmd, "--help")...)
	if r.Status != cli.StatusDone || r.Err != "" {
		t.Errorf("%s --help: status %d, errors %q", cmd.CommandPath(), r.Status, r.Err)
	}
	lines := strings.Split(r.Out, "\n")
	korean, english := cli.Halves(cmd.Short)
	if lines[0] != korean || lines[1] != english {
		t.Errorf("%s --help begins with %q", cmd.CommandPath(), lines[:2])
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		korean, english := cli.Halves(f.Usage)
		_, told, named := strings.Cut(r.Out, "--"+f.Name+" ")
		_, under, inKorean := strings.Cut(told, korean)
		if !named || !inKorean || !strings.Contains(under, english) {
			t.Errorf("%s --help does not tell --%s, first in Korean, then in English:\n%s",
				cmd.CommandPath(), f.Name, r.Out)
		}
		hasDefault := f.NoOptDefVal == "" && f.DefValue != "" && !cli.Required(f)
		if hasDefault && !strings.Contains(r.Out, english+" (default "+f.DefValue+")") {
			t.Errorf("%s --help does not tell the default of --%s: %s", cmd.CommandPath(), f.Name, f.DefValue)
		}
	})
}

// checkWrongUsage checks that a wrong command line is told once in each language, on standard error alone, with
// status 2.
func checkWrongUsage(t *testing.T, build func() *cobra.Command, cmd *cobra.Command) {
	wrong := map[string]string{ // what is added, and what must be said of it
		"--no-such-flag": "--no-such-flag",
		"-data":          "-data; 혹시 --",
		"--hepl":         "--help?",
	}
	if cmd.LocalFlags().Lookup("data") == nil {
		delete(wrong, "-data")
	}
	if cmd.HasSubCommands() {
		wrong["no-such-command"] = "no-such-command"
		wrong[cmd.Commands()[0].Name()+"x"] = cmd.Commands()[0].Name() + "?"
		wrong[""] = cmd.Commands()[0].Name()
	}
	var required []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if cli.Required(f) {
			required = append(required, "--"+f.Name)
		}
	})
	for added, said := range wrong {
		args := path(cmd)
		if added != "" {
			args = append(args, added)
		}
		checkRefusal(t, Run(t, build(), args...), cmd, args, said)
	}
	if len(required) > 0 {
		args := path(cmd)
		for _, word := range strings.Fields(cmd.Use)[1:] {
			if word != "[FLAGS]" && !strings.HasPrefix(word, "[") {
				args = append(args, "x")
			}
		}
		checkRefusal(t, Run(t, build(), args...), cmd, args, required...)
	}
}

func checkRefusal(t *testing.T, r Result, cmd *cobra.Command, args []string, said ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.Err, "\n"), "\n")
	where := cmd.CommandPath()
	if r.Status != cli.StatusUsage || r.Out != "" || len(lines) != 3 {
		t.Errorf("%q: status %d, output %q, errors %q", args, r.Status, r.Out, r.Err)
		return
	}
	saysWhere := strings.HasPrefix(lines[0], where+": ") && strings.HasPrefix(lines[1], where+": ")
	if !hangul(lines[0]) || hangul(lines[1]) || !saysWhere {
		t.Errorf("%q: %q is not first Korean, then English, each saying where", args, lines)
	}
	for _, s := range said {
		if !strings.Contains(lines[0], s) {
			t.Errorf("%q: %q does not say %q", args, lines[0], s)
		}
	}
	if lines[2] != "도움말 / help: "+where+" --help" {
		t.Errorf("%q: %q does not say what to do", args, lines[2])
	}
}

func checkCompletion(t *testing.T, build func() *cobra.Command) {
	name := build().Name()
	for shell, mark := range map[string]string{"bash": "complete -o default", "zsh": "#compdef " + name} {
		r := Run(t, build(), "completion", shell)
		if r.Status != cli.StatusDone || !strings.Contains(r.Out, mark) || !strings.Contains(r.Out, name) {
			t.Errorf("completion %s: status %d, %d bytes, errors %q", shell, r.Status, len(r.Out), r.Err)
		}
		program, err := exec.LookPath(shell)
		if err != nil {
			continue // the shell is not here: its script is checked where it is
		}
		check := exec.Command(program, "-n")
		check.Stdin = strings.NewReader(r.Out)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, out)
		}
	}
	walk(build(), func(cmd *cobra.Command) {
		r := Run(t, build(), append([]string{cobra.ShellCompRequestCmd}, path(cmd, "--")...)...)
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(r.Out, "--"+f.Name+"\t") && !strings.Contains(r.Out, "--"+f.Name+"=\t") {
				t.Errorf("%s -- completes to %q, without --%s", cmd.CommandPath(), r.Out, f.Name)
			}
		})
	})
}

// checkManual checks that there is a page of every command, that it names every flag, and that groff, which man shows
// pages with, sets it without complaint where there is a groff.
func checkManual(t *testing.T, build func() *cobra.Command) {
	dir := filepath.Join(t.TempDir(), "man")
	if r := Run(t, build(), "man", "--dir", dir); r.Status != cli.StatusDone || r.Out+r.Err != "" {
		t.Fatalf("man: %+v", r)
	}
	version := strings.TrimSpace(Run(t, build(), "--version").Out)
	walk(build(), func(cmd *cobra.Command) {
		page := filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			return
		}
		text := string(raw)
		if groff, err := exec.LookPath("groff"); err == nil {
			text = render(t, groff, page)
		}
		text = strings.ReplaceAll(text, `\-`, "-")
		_, english := cli.Halves(cmd.Short)
		first := strings.Fields(english)[0]
		for _, part := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", first, version} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no %s:\n%s", page, part, text)
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(text, "--"+f.Name) {
				t.Errorf("%s does not tell --%s:\n%s", page, f.Name, text)
			}
		})
	})
}

// render sets a page for a wide terminal, without bold and underlined letters.
func render(t *testing.T, groff, page string) string {
	t.Helper()
	cmd := exec.Command(groff, "-K", "utf8", "-T", "utf8", "-m", "man", "-ww", "-r", "LL=200n", "-P", "-cbou", page)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("groff %s: %v\n%s", page, err, complaints.String())
	}
	return out.String()
}
