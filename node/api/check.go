package api

import (
	"encoding"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Check refuses, with CodeInvalid, a request that would not reach a node over the socket as it
// is: text that is not UTF-8, which JSON would replace, and numbers below 0.
func Check(request any) error { return checkValue("the request", reflect.ValueOf(request)) }

func checkValue(name string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return Errorf(CodeInvalid, "%s is not UTF-8", name)
		}
	case reflect.Int, reflect.Int64: // and Duration
		if v.Int() < 0 {
			return Errorf(CodeInvalid, "%s is %v: want a number, 0 or more", name, v.Interface())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return checkValue(name, v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for i := range v.Len() {
			if err := checkValue(name, v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if err := checkValue(name, k); err != nil {
				return err
			}
			if err := checkValue(name, v.MapIndex(k)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if v.Type().Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			return nil // a time
		}
		for i := range v.NumField() {
			if err := checkValue(fieldName(v.Type().Field(i)), v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fieldName is what a field of a request is called where it travels.
func fieldName(f reflect.StructField) string {
	for _, tag := range []string{"path", "query", "json"} {
		if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" {
			return name
		}
	}
	return strings.ToLower(f.Name)
}
