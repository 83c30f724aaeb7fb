package config

import (
	"iter"
	"reflect"
	"strings"
)

// A setting is a field of a role's struct, or of a struct in it: hooks.complete
// is the field complete of the field hooks. Tags of a field:
//
//	mapstructure:"key"  its name
//	live:"yes"          a running role takes a new value over (SIGHUP)
//	secret:"yes"        never shown

// keys goes through the settings of v, in the order of the fields.
func keys(v reflect.Value, prefix string) iter.Seq2[string, setting] {
	return func(yield func(string, setting) bool) {
		for f, value := range v.Fields() {
			key := prefix + f.Tag.Get("mapstructure")
			if nested(f.Type) {
				for k, s := range keys(value, key+".") {
					if !yield(k, s) {
						return
					}
				}
				continue
			}
			if !yield(key, setting{f, value}) {
				return
			}
		}
	}
}

type setting struct {
	field reflect.StructField
	value reflect.Value
}

func (s setting) is(tag string) bool { return s.field.Tag.Get(tag) == "yes" }

// nested reports whether t is a group of settings rather than a value.
func nested(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

// fieldOf is the field of a key, a group's too.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	name, rest, deeper := strings.Cut(key, ".")
	for f := range t.Fields() {
		if f.Tag.Get("mapstructure") != name {
			continue
		}
		if !deeper {
			return f, true
		}
		if !nested(f.Type) {
			break
		}
		return fieldOf(f.Type, rest)
	}
	return reflect.StructField{}, false
}

// Reload is what becomes of running settings when they are read anew as next:
// those that can change do, the others stay. live and fixed are the keys that
// differ, of the former and of the latter.
func Reload[T Settings](running, next T) (now T, live, fixed []string) {
	now = running
	to := map[string]reflect.Value{}
	for k, s := range keys(reflect.ValueOf(&now).Elem(), "") {
		to[k] = s.value
	}
	for k, s := range keys(reflect.ValueOf(next), "") {
		switch {
		case same(to[k], s.value):
		case s.is("live"):
			to[k].Set(s.value)
			live = append(live, k)
		default:
			fixed = append(fixed, k)
		}
	}
	return now, live, fixed
}

// same reports whether two values of one type say the same: a list that is
// missing is an empty one.
func same(a, b reflect.Value) bool {
	return reflect.DeepEqual(a.Interface(), b.Interface()) || a.Kind() == reflect.Slice && a.Len()+b.Len() == 0
}

// near is the key of t that differs least from name, or empty.
func near(t reflect.Type, name string) string {
	const maxTypos = 2
	best, found := maxTypos+1, ""
	for f := range t.Fields() {
		key := f.Tag.Get("mapstructure")
		if d := distance(strings.ToLower(name), key); d < best {
			best, found = d, key
		}
	}
	return found
}

// distance counts the letters to insert, delete or replace to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
