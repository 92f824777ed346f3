package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// encodeRequest gives the URL and the body of a request; a nil body if the
// method has none.
func encodeRequest(method, path string, req any) (string, []byte, error) {
	if err := Check(req); err != nil {
		return "", nil, err
	}
	query := url.Values{}
	v := reflect.ValueOf(req)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if name, ok := tag.Lookup("path"); ok {
			text, err := fieldText(v.Field(i))
			if err != nil {
				return "", nil, err
			}
			if text == "" {
				return "", nil, Errorf(CodeInvalid, "%q names no %s", text, name)
			}
			path = strings.Replace(path, "{"+name+"}", escapeSegment(text), 1)
		} else if name, ok := tag.Lookup("query"); ok && !v.Field(i).IsZero() {
			text, err := fieldText(v.Field(i))
			if err != nil {
				return "", nil, err
			}
			query.Set(name, text)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	if !hasBody(method) {
		return path, nil, nil
	}
	fields := bodyFields(v)
	body, err := json.Marshal(fields)
	if err != nil {
		return "", nil, Errorf(CodeInvalid, "encoding the request: %v", err)
	}
	if len(body) > maxRequest {
		return "", nil, Errorf(CodeInvalid, "the request has %d bytes, at most %d", len(body), maxRequest)
	}
	return path, body, nil
}

// escapeSegment escapes one segment of a path. A segment of dots alone would else be taken for a
// folder (RFC 3986, Section 5.2.4).
func escapeSegment(text string) string {
	if text == "." || text == ".." {
		return strings.ReplaceAll(text, ".", "%2E")
	}
	return url.PathEscape(text)
}

// markSlashes has h get a segment that is nothing but slashes with one more. http.ServeMux takes
// a segment "%2F" for the end of the path. pathValue takes that slash away.
func markSlashes(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		segments := strings.Split(r.URL.EscapedPath(), "/")
		marked := false
		for i, s := range segments {
			if onlySlashes(s) {
				segments[i], marked = s+"%2F", true
			}
		}
		if marked {
			u, raw := *r.URL, strings.Join(segments, "/")
			if plain, err := url.PathUnescape(raw); err == nil {
				u.Path, u.RawPath = plain, raw
				c := *r
				c.URL = &u
				r = &c
			}
		}
		h.ServeHTTP(w, r)
	})
}

func onlySlashes(segment string) bool {
	text, err := url.PathUnescape(segment)
	return err == nil && text != "" && strings.Trim(text, "/") == ""
}

// pathValue is a segment of a path, as it was sent.
func pathValue(r *http.Request, name string) string {
	text := r.PathValue(name)
	if text != "" && strings.Trim(text, "/") == "" {
		return text[1:]
	}
	return text
}

// hasBody says whether a request has a body.
func hasBody(method string) bool { return method == http.MethodPost || method == http.MethodPut }

// bodyFields gives a pointer to a struct of the fields that travel in the body.
func bodyFields(v reflect.Value) any {
	t := bodyType(v.Type())
	out := reflect.New(t)
	for i := range t.NumField() {
		out.Elem().Field(i).Set(v.FieldByName(t.Field(i).Name))
	}
	return out.Interface()
}

// bodyType is a request's type without the fields that travel in the URL.
func bodyType(t reflect.Type) reflect.Type {
	var fields []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		_, path := f.Tag.Lookup("path")
		_, query := f.Tag.Lookup("query")
		if !path && !query {
			f.Offset, f.Index = 0, nil
			fields = append(fields, f)
		}
	}
	return reflect.StructOf(fields)
}

// readRequest is the inverse of encodeRequest. Unknown parameters, unknown fields
// and anything after the body are refused.
func readRequest[Req any](w http.ResponseWriter, r *http.Request) (Req, error) {
	var req Req
	v := reflect.ValueOf(&req).Elem()
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return req, Errorf(CodeInvalid, "query: %v", err)
	}
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, text := "", ""
		if p, ok := tag.Lookup("path"); ok {
			name, text = p, pathValue(r, p)
		} else if q, ok := tag.Lookup("query"); ok && query.Has(q) {
			name, text = q, query.Get(q)
			query.Del(q)
		}
		if name == "" {
			continue
		}
		if err := setField(v.Field(i), text); err != nil {
			return req, Errorf(CodeInvalid, "%s %q: %v", name, text, err)
		}
	}
	for name := range query {
		return req, Errorf(CodeInvalid, "there is no parameter %q", name)
	}
	if !hasBody(r.Method) {
		return req, Check(req)
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return req, Errorf(CodeInvalid, "the request has more than %d bytes", maxRequest)
	}
	if err != nil {
		return req, Errorf(CodeInvalid, "body: %v", err)
	}
	if !utf8.Valid(text) {
		return req, Errorf(CodeInvalid, "body: it is not UTF-8")
	}
	if halved(text) {
		return req, Errorf(CodeInvalid, "body: it has half of a character, an escape of a surrogate without the other one")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	body := reflect.New(bodyType(v.Type()))
	if err := d.Decode(body.Interface()); err != nil {
		return req, Errorf(CodeInvalid, "body: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return req, Errorf(CodeInvalid, "body: something follows the JSON object")
	}
	for i := range body.Elem().NumField() {
		v.FieldByName(body.Elem().Type().Field(i).Name).Set(body.Elem().Field(i))
	}
	return req, Check(req)
}

// halved says whether a string in JSON has an escape of half a character, for which the decoder
// would put another one.
func halved(text []byte) bool {
	unit := func() (u rune, ok bool) {
		if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
		return rune(n), err == nil //nolint:gosec // 16 bits
	}
	for len(text) > 0 {
		first, ok := unit()
		switch {
		case ok && utf16.IsSurrogate(first):
			text = text[6:]
			second, _ := unit()
			if utf16.DecodeRune(first, second) == unicode.ReplacementChar {
				return true
			}
			text = text[6:]
		case text[0] == '\\':
			text = text[min(2, len(text)):]
		default:
			text = text[1:]
		}
	}
	return false
}

// fieldText gives a field of a URL as text: strings, integers, booleans and what marshals itself.
func fieldText(v reflect.Value) (string, error) {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		return string(b), err
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), nil
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	}
	return "", fmt.Errorf("a field of type %v cannot travel in a URL", v.Type())
}

func setField(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 0)
		if err != nil || n < 0 {
			return errors.New("want a number, 0 or more")
		}
		v.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return errors.New("want a number, 0 or more")
		}
		v.SetUint(n)
	default:
		return fmt.Errorf("a field of type %v cannot travel in a URL", v.Type())
	}
	return nil
}
