package cli

// wanting is a value that can say in both languages what it must be.
type wanting interface{ wants() string }

// value is a flag's value of any type.
type value[T any] struct {
	p      *T
	kind   string
	form   string // what it must be, in both languages
	parse  func(string) (T, error)
	format func(T) string
}

func (v *value[T]) Set(given string) error {
	parsed, err := v.parse(given)
	if err == nil {
		*v.p = parsed
	}
	return err
}

func (v *value[T]) String() string {
	if v.p == nil { // pflag asks the zero value
		return ""
	}
	return v.format(*v.p)
}

func (v *value[T]) Type() string  { return v.kind }
func (v *value[T]) wants() string { return v.form }

func define[T any](f Flags, name, text string, kind Kind, v value[T]) {
	v.kind = kind.name
	f.cmd.Flags().Var(&v, name, text)
	must(kind.complete(f.cmd, name))
}
